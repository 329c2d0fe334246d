// serve: the model behind an HTTP server.
#include <algorithm>

#include "runtime/host/kv_directory.h"
#include "runtime/host/program.h"
#include "runtime/host/sandbox.h"
#include "runtime/server/api.h"
#include "runtime/server/tls.h"

namespace forge::rt {
namespace {

struct ServeFlags {
  RunFlags run{.n_sequences = 4};
  HttpOptions http;
  ApiOptions api;
  uint32_t port = 8080;
  uint32_t n_queued = 256;
  bool deterministic = false;
  std::string key_file, prefix_cache;
  std::string certificate, certificate_key;  // files
  uint32_t prefix_cache_mb = 4096;
};

std::vector<Option> option_table(ServeFlags& f) {
  std::vector<Option> options = {
      {.name = "--host",
       .value = "ADDRESS",
       .help = "IP address to listen on; 0.0.0.0: every interface (default 127.0.0.1)",
       .set = into(f.http.host),
       .variable = "FORGE_HOST"},
      {.name = "--port",
       .letter = 'p',
       .value = "N",
       .help = "port to listen on; 0: any that is free (default 8080)",
       .set = into(f.port, 0, 65535),
       .variable = "FORGE_PORT"},
      {.name = "--unix",
       .value = "PATH",
       .help = "listen on a Unix socket instead",
       .set = into(f.http.unix_path),
       .variable = "FORGE_UNIX"},
      {.name = "--parallel",
       .value = "N",
       .help = "texts that run at once, each with a context of its own (default 4)",
       .set = into(f.run.n_sequences, 1, 1024),
       .variable = "FORGE_PARALLEL"},
      {.name = "--queue",
       .value = "N",
       .help = "texts that may wait beyond these; then 429 (default 256)",
       .set = into(f.n_queued, 0, 1U << 20),
       .variable = "FORGE_QUEUE"},
      {.name = "--api-key",
       .value = "KEY",
       .help = "ask for this key (may be repeated); better kept in --api-key-file or FORGE_API_KEY",
       .set = into(f.api.keys),
       .variable = "FORGE_API_KEY"},
      {.name = "--api-key-file",
       .value = "F",
       .help = "ask for one of the keys in this file, one a line; # begins a comment",
       .set = into(f.key_file),
       .variable = "FORGE_API_KEY_FILE"},
      {.name = "--cert",
       .value = "F",
       .help = "speak TLS with the certificate in this PEM file, and those that lead to its root behind it",
       .set = into(f.certificate),
       .variable = "FORGE_CERT"},
      {.name = "--key",
       .value = "F",
       .help = "the certificate's private key, in PEM",
       .set = into(f.certificate_key),
       .variable = "FORGE_KEY"},
      {.name = "--cors",
       .value = "ORIGIN",
       .help = "pages that may ask from a browser, like https://example.org; *: all (may be repeated)",
       .set = [&f](std::string_view origin) -> Status {
         if (origin.ends_with('/')) origin.remove_suffix(1);
         const size_t scheme = origin.find("://");
         if (origin != "*" &&
             (scheme == std::string_view::npos || scheme == 0 || scheme + 3 == origin.size() ||
              origin.find('/', scheme + 3) != std::string_view::npos))
           return Error{"expected SCHEME://HOST or SCHEME://HOST:PORT, as browsers send it, or *"};
         f.api.origins.emplace_back(origin);
         return Ok{};
       },
       .variable = "FORGE_CORS"},
      {.name = "--prefix-cache",
       .value = "DIR",
       .help = "keep the KV of ended texts in this folder where memory has no room for it, and over restarts",
       .set = into(f.prefix_cache),
       .variable = "FORGE_PREFIX_CACHE"},
      {.name = "--prefix-cache-size",
       .value = "MB",
       .help = "of all its files; those used longest ago go (default 4096)",
       .set = into(f.prefix_cache_mb, 1),
       .variable = "FORGE_PREFIX_CACHE_SIZE"},
      {.name = "--slot-save-path",
       .value = "DIR",
       .help = "where POST /slots/N?action=save and restore keep their files",
       .set = into(f.api.slot_folder),
       .variable = "FORGE_SLOT_SAVE_PATH"},
      {.name = "--deterministic",
       .help =
           "prompts never begin with what was generated: a seed gives one text, whatever was asked before",
       .set = into(f.deterministic)},
  };
  add_run_options(options, f.run);
  return options;
}

Status read_keys(ServeFlags& f) {
  if (!f.key_file.empty()) {
    const auto content = read_file(f.key_file);
    if (!content) return content.error();
    std::string_view rest = *content;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      line = trim_space(line);
      if (!line.empty() && line[0] != '#') f.api.keys.emplace_back(line);
    }
    if (f.api.keys.empty()) return Error{text(f.key_file, ": holds no key")};
  }
  for (const std::string& key : f.api.keys)
    if (key.empty()) return Error{"--api-key: expected a key, this one is empty"};
  return Ok{};
}

// Null without --cert.
Result<std::unique_ptr<TlsServer>> open_tls(const ServeFlags& f) {
  if (f.certificate.empty() && f.certificate_key.empty()) return std::unique_ptr<TlsServer>();
  if (open_tls_server == nullptr)
    return Error{"--cert: this program was compiled without TLS (forge compile --tls)"};
  if (f.certificate.empty() || f.certificate_key.empty()) return Error{"TLS needs both --cert and --key"};
  const auto certificate = read_file(f.certificate);
  if (!certificate) return certificate.error();
  const auto key = read_file(f.certificate_key);
  if (!key) return key.error();
  auto tls = open_tls_server(*certificate, *key);
  if (!tls)
    return Error{text("--cert ", f.certificate, " --key ", f.certificate_key, ": ", tls.error().message)};
  return tls;
}

// No browser reaches a Unix socket: who asks there is a proxy.
bool is_loopback(const HttpOptions& http) {
  return http.unix_path.empty() && (http.host.starts_with("127.") || http.host == "localhost" ||
                                    http.host == "::1" || http.host == "[::1]");
}

}  // namespace

int serve_command(Program& program, std::span<const std::string> args) {
  ServeFlags f;
  Arguments parsed;
  int status = 0;
  if (!parse_command(
          program,
          {.command = "serve",
           .positionals = "",
           .summary =
               "Serves the model over HTTP: OpenAI's and Anthropic's APIs, and a page to chat on at /.",
           .example = "serve --port 8080 --parallel 8"},
          option_table(f), args, 0, parsed, status)) {
    return status;
  }
  if (const Status keys = read_keys(f); !keys)
    return fail(program, keys.error(), f.key_file.empty() ? kMisuse : 1);
  const auto tls = open_tls(f);
  if (!tls)
    return fail(program, tls.error(), f.certificate.empty() || f.certificate_key.empty() ? kMisuse : 1);
  f.http.tls = tls->get();
  const auto session = open_session(program, f.run, status);
  if (session == nullptr) return status;
  ModelInfo model;
  if (const Status filled = fill_model_info(program, *session, model); !filled)
    return fail(program, filled.error());

  f.http.port = static_cast<uint16_t>(f.port);
  f.http.error_response = http_error_response;
  f.api.loopback = is_loopback(f.http);
  Api* api = nullptr;
  auto server = HttpServer::open(f.http, [&api](Exchange& exchange) { return api->admit(exchange); });
  if (!server) return fail(program, server.error());
  HttpServer& http = **server;
  // Outlives the service, which at its end keeps there what it has.
  FileNeeds files;
  std::unique_ptr<KvDirectory> kept;
  if (!f.prefix_cache.empty()) {
    auto opened = KvDirectory::open(f.prefix_cache, kv_identity(*program.code, *program.payload),
                                    uint64_t{f.prefix_cache_mb} * 1'000'000,
                                    [&program](const Error& error) {  // from the engine's thread
                                      write_all(2, as_bytes(text(program.name, ": ", error.message, "\n")));
                                    });
    if (!opened) return fail(program, opened.error());
    kept = std::move(*opened);
    files.folders.push_back(kept->folder());
  }
  Service service(*session,
                  {.n_parallel = f.run.n_sequences, .n_queued = f.n_queued, .deterministic = f.deterministic},
                  [&http](std::function<void()> fn) { http.post(std::move(fn)); });
  if (kept != nullptr) service.add_store(*kept);
  Api endpoints(service, model, f.api);
  api = &endpoints;
  if (!f.api.slot_folder.empty()) files.folders.push_back(f.api.slot_folder);
  files.removes_socket = !f.http.unix_path.empty();
  // Before the engine's thread begins, which inherits it.
  if (const Status closed = close_file_system(files, session->engine.team()); !closed)
    return fail(program, closed.error());
  if (const Status started = service.start(); !started) return fail(program, started.error());
  bool draining = false;
  http.on_signal([&] {
    if (std::exchange(draining, true)) {
      service.cancel_all();
      return http.break_off();
    }
    program.err.write(text(program.name, ": finishing what is under way (once more to break it off)\n"));
    program.err.flush();
    endpoints.drain();
    http.drain();
    service.when_idle([&http] { http.work_ended(); });
  });
  program.err.write(text(program.name, ": serving ", model.name, " at ", http.address(), " (",
                         service.n_parallel(), " at once, context ", session->engine.ctx(), " each, ",
                         f.api.keys.empty() ? "no key" : "with a key", "; Ctrl-C stops)\n"));
  if (f.api.keys.empty() && f.http.unix_path.empty() && !f.api.loopback)
    program.err.write(text(program.name, ": whoever reaches that address may ask: see --api-key-file\n"));
  program.err.flush();
  if (const Status dropped = filter_system_calls(files); !dropped) return fail(program, dropped.error());
  http.run();
  return 0;
}

}  // namespace forge::rt
