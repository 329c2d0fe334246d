// batch: a file of requests, as OpenAI's batch API takes them, through the server's endpoints without a server.
// https://platform.openai.com/docs/guides/batch
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <unordered_map>
#include <unordered_set>

#include "runtime/core/jinja_json.h"
#include "runtime/host/json.h"
#include "runtime/host/program.h"
#include "runtime/server/api.h"
#include "runtime/server/inbox.h"

namespace forge::rt {
namespace {

struct BatchFlags {
  RunFlags run{.n_sequences = 8};
  std::string output;
};

// One line of the input.
struct BatchLine {
  std::string_view text;
  std::string id;  // custom_id
};

// A request of the file: its answer becomes a line of the output.
class LineExchange final : public Exchange {
 public:
  explicit LineExchange(std::function<void(int status, std::string_view body)> done)
      : done_(std::move(done)) {}
  void respond(const HttpResponse& response) override {
    // One line: strings in JSON hold no line ends, so these are white space.
    std::string body = response.body;
    while (body.ends_with('\n')) body.pop_back();
    std::replace(body.begin(), body.end(), '\n', ' ');
    std::replace(body.begin(), body.end(), '\r', ' ');
    if (done_) std::exchange(done_, nullptr)(response.status, body);
  }
  void begin_stream(const HttpResponse& /*response*/) override {
    ApiError error;
    error.message = "stream: a batch has no streams";
    respond({.status = 400, .body = openai_error_json(error)});
  }
  void send(std::string_view /*piece*/) override {}
  void end_stream() override {}

 private:
  std::function<void(int, std::string_view)> done_;
};

// The lines that are requests; an Error names the first that is none.
Result<std::vector<BatchLine>> read_lines(const std::string& path, std::string_view content) {
  std::vector<BatchLine> out;
  std::unordered_set<std::string> ids;
  for (size_t number = 1; !content.empty(); ++number) {
    const size_t end = std::min(content.find('\n'), content.size());
    const std::string_view line = content.substr(0, end);
    content.remove_prefix(std::min(end + 1, content.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const auto where = [&](std::string_view what) {
      return Error{text(path, ", line ", number, ": ", what)};
    };
    const auto value = jinja::parse_json(line);
    if (!value) return where(value.error().message);
    ApiError error;
    const RequestFields fields(*value, {}, error);
    std::string id;
    for (const char* name : {"custom_id", "url", "body"}) fields.required(name);
    fields.string("custom_id", id);
    if (fields.failed()) return where(error.message);
    if (!ids.insert(id).second) return where(text("custom_id ", id, " stands in an earlier line, too"));
    out.push_back({line, std::move(id)});
  }
  if (out.empty()) return Error{text(path, ": holds no requests")};
  return out;
}

// Of a request's line: its answer is known by it, so that no other request's is taken for it.
std::string request_id(std::string_view line) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash64(as_bytes(line))));
  return text("batch_req_", digits);
}

// Of an output that was broken off the whole lines that answer one of these requests, and their custom_ids.
struct Answered {
  std::string lines;
  std::unordered_set<std::string> ids;
};
Answered answered(std::string_view content, std::span<const BatchLine> requests) {
  std::unordered_map<std::string, std::string> wanted;
  for (const BatchLine& line : requests) wanted.emplace(line.id, request_id(line.text));
  Answered out;
  for (size_t end = content.find('\n'); end != std::string_view::npos; end = content.find('\n')) {
    const std::string_view line = content.substr(0, end + 1);
    content.remove_prefix(end + 1);
    const auto value = jinja::parse_json(line);
    ApiError error;
    std::string id;
    std::string request;
    if (!value) continue;
    const RequestFields fields(*value, {}, error);
    fields.string("custom_id", id);
    fields.string("id", request);
    const auto found = wanted.find(id);
    if (found == wanted.end() || found->second != request || !out.ids.insert(id).second) continue;
    out.lines += line;
  }
  return out;
}

// The file as `content`, and as it was until then.
Status replace_file(const std::string& path, std::string_view content) {
  const std::string made = path + ".new";
  const int fd = ::open(made.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return system_error(made, "can't be written");
  const bool written = write_all(fd, as_bytes(content));
  if (::close(fd) != 0 || !written || std::rename(made.c_str(), path.c_str()) != 0)
    return system_error(made, "can't be written");
  return Ok{};
}

class BatchRun {
 public:
  BatchRun(Program& program, Service& service, const Api& api, Inbox& inbox, int fd, size_t n_lines)
      : program_(program), service_(service), api_(api), inbox_(inbox), fd_(fd), n_lines_(n_lines) {}

  // Whether all were answered, and written.
  bool run(std::span<const BatchLine> lines, size_t n_done, size_t at_once) {
    n_done_ = n_done;
    const double start = seconds_now();
    for (size_t next = 0; (next < lines.size() || n_running_ > 0) && error_ == 0;) {
      if (interrupt_flag() && !std::exchange(cancelled_, true)) service_.cancel_all();
      while (!cancelled_ && next < lines.size() && n_running_ < at_once) begin(lines[next++]);
      if (cancelled_ && n_running_ == 0) break;
      show(start, n_done);
      inbox_.run_some();
    }
    if (program_.err.is_terminal()) program_.err.write("\n");
    return n_done_ == n_lines_ && error_ == 0;
  }
  size_t n_done() const { return n_done_; }
  size_t n_failed() const { return n_failed_; }
  int error() const { return error_; }

 private:
  void begin(const BatchLine& line) {
    ++n_running_;
    const auto exchange = std::make_shared<LineExchange>(
        [this, id = line.id, request = request_id(line.text)](int status, std::string_view body) {
          --n_running_;
          if (cancelled_ && status == 503) return;
          write(id, request, status, body);
        });
    const auto value = jinja::parse_json(line.text);  // a second time: values of all lines would be large
    std::string method = "POST";
    ApiError error;
    const RequestFields fields(*value, {}, error);
    fields.string("method", method);
    fields.string("url", exchange->request.path);
    exchange->request.method = method;
    api_.handle(exchange, *fields.find("body"));
  }

  void write(const std::string& id, const std::string& request_id, int status, std::string_view body) {
    JsonObject response;
    response.add("status_code", int64_t{status});
    response.add("request_id", random_id("req_"));
    response.add_json("body", body);
    JsonObject out;
    out.add("id", request_id);
    out.add("custom_id", id);
    out.add("response", response);
    out.add_null("error");
    if (error_ == 0 && !write_all(fd_, as_bytes(out.compact() + "\n"))) error_ = errno;
    ++n_done_;
    n_failed_ += status != 200;
  }

  void show(double start, size_t n_before) {
    if (!program_.err.is_terminal() || seconds_now() - shown_ < 0.2) return;
    shown_ = seconds_now();
    const double rate = static_cast<double>(n_done_ - n_before) / std::max(shown_ - start, 1e-3);
    constexpr size_t kWidth = 30;
    const size_t filled = kWidth * n_done_ / n_lines_;
    program_.err.write(text("\r[", std::string(filled, '#'), std::string(kWidth - filled, '.'), "] ", n_done_,
                            " of ", n_lines_, ", ", fixed(rate, 1), " a second "));
    program_.err.flush();
  }

  Program& program_;
  Service& service_;
  const Api& api_;
  Inbox& inbox_;
  int fd_;
  size_t n_lines_, n_running_ = 0, n_done_ = 0, n_failed_ = 0;
  bool cancelled_ = false;
  int error_ = 0;
  double shown_ = 0;
};

}  // namespace

int batch_command(Program& program, std::span<const std::string> args) {
  BatchFlags f;
  std::vector<Option> options = {
      {.name = "--output",
       .letter = 'o',
       .value = "F",
       .help = "where the answers go, a line each",
       .set = into(f.output)},
      {.name = "--parallel",
       .value = "N",
       .help = "requests that run at once, each with a context of its own (default 8)",
       .set = into(f.run.n_sequences, 1, 1024),
       .variable = "FORGE_PARALLEL"},
  };
  add_run_options(options, f.run);
  Arguments parsed;
  int status = 0;
  if (!parse_command(
          program,
          {.command = "batch",
           .positionals = "REQUESTS",
           .summary =
               "Answers a file of requests, as OpenAI's batch API takes them: a JSON object a line, with "
               "custom_id, url and body. Interrupted, the same command goes on.",
           .example = "batch requests.jsonl -o answers.jsonl"},
          options, args, 1, parsed, status)) {
    return status;
  }
  if (parsed.positionals.empty() || f.output.empty())
    return fail(program, Error{"batch: give a file of requests, and the answers' file with -o"}, kMisuse);
  const auto content = read_file(parsed.positionals[0]);
  if (!content) return fail(program, content.error());
  const auto lines = read_lines(parsed.positionals[0], *content);
  if (!lines) return fail(program, lines.error());
  const auto session = open_session(program, f.run, status, f.output);
  if (session == nullptr) return status;
  ModelInfo model;
  if (const Status filled = fill_model_info(program, *session, model); !filled)
    return fail(program, filled.error());

  // Answers are kept here until all are there.
  const std::string partial = f.output + ".partial";
  Answered before;
  if (access(partial.c_str(), F_OK) == 0) {
    const auto old = read_file(partial);
    if (!old) return fail(program, old.error());
    before = answered(*old, *lines);
    if (const Status kept = replace_file(partial, before.lines); !kept) return fail(program, kept.error());
  }
  const int fd = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return fail(program, system_error(partial, "can't be written"));
  std::vector<BatchLine> left;
  for (const BatchLine& line : *lines)
    if (!before.ids.contains(line.id)) left.push_back(line);
  const size_t n_done = lines->size() - left.size();
  if (n_done != 0)
    program.err.write(
        text(program.name, ": goes on with ", partial, ": ", n_done, " of ", lines->size(), " are there\n"));

  Inbox inbox;
  // A request of several choices takes several places.
  const uint32_t n_queued = f.run.n_sequences * kMaxChoices;
  Service service(*session, {.n_parallel = f.run.n_sequences, .n_queued = n_queued},
                  [&inbox](std::function<void()> fn) { inbox.post(std::move(fn)); });
  const Api api(service, model, {});
  if (const Status started = service.start(); !started) return fail(program, started.error());
  catch_interrupts(/*second_exits=*/true, /*and_termination=*/true);
  BatchRun run(program, service, api, inbox, fd, lines->size());
  const bool complete = run.run(left, n_done, f.run.n_sequences);
  const bool closed = ::close(fd) == 0;
  if (run.error() != 0 || !closed) {
    if (run.error() != 0) errno = run.error();
    return fail(program, system_error(partial, "can't be written"));
  }
  if (!complete) {
    fail(program,
         Error{text("batch: ", run.n_done(), " of ", lines->size(), " answered; the same command goes on")});
    return 130;
  }
  if (std::rename(partial.c_str(), f.output.c_str()) != 0)
    return fail(program, system_error(f.output, "can't be written"));
  program.err.write(text(program.name, ": ", lines->size(), " answered",
                         run.n_failed() == 0 ? "" : text(", ", run.n_failed(), " with an error"), "\n"));
  return 0;
}

}  // namespace forge::rt
