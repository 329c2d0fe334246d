#include "download/model_source.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "core/sha256.h"
#include "download/hub_cache.h"
#include "download/hub_listing.h"

namespace forge {
namespace {
namespace fs = std::filesystem;

constexpr std::string_view kHubPrefix = "hf:";
constexpr size_t kMaxListingBytes = 64u << 20;

// A repository at a hub, a revision, and what is wanted of it (choose_model's `spec`).
struct HubModel {
  std::string repo, revision = "main", spec;
};

bool is_repo_name(std::string_view repo) {
  const auto is_good = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.' || c == '/';
  };
  return is_safe_path(repo) && std::ranges::all_of(repo, is_good) && std::ranges::count(repo, '/') <= 1 &&
         !repo.starts_with('.') && !repo.starts_with('-');
}

HubModel parse_hub_model(const std::string& model) {
  const std::string_view rest = std::string_view(model).substr(kHubPrefix.size());
  const size_t colon = rest.find(':');
  HubModel out{.repo = std::string(rest.substr(0, colon))};
  if (colon != std::string_view::npos) out.spec = rest.substr(colon + 1);
  if (!is_repo_name(out.repo) || (colon != std::string_view::npos && out.spec.empty()))
    fail_usage("{}: expected hf:ORG/NAME, hf:ORG/NAME:Q4_K_M or hf:ORG/NAME:FILE.gguf", model);
  return out;
}

// A URL of a hub's web pages: the repository's, or a file's (…/resolve/REV/FILE, …/blob/REV/FILE).
std::optional<HubModel> hub_page(const std::string& url, const std::string& endpoint) {
  if (url_origin(url) != url_origin(endpoint)) return std::nullopt;
  const std::string base = url_path(endpoint), path = url_path(url);
  std::vector<std::string> parts;
  if (!path.starts_with(base)) return std::nullopt;
  std::string_view rest = std::string_view(path).substr(base.size());
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    if (slash != 0) parts.push_back(decode_path(rest.substr(0, slash)));
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
  }
  if (parts.size() < 2) return std::nullopt;
  HubModel out{.repo = parts[0] + "/" + parts[1]};
  if (!is_repo_name(out.repo)) return std::nullopt;
  if (parts.size() == 2) return out;
  if (parts.size() < 5 || (parts[2] != "resolve" && parts[2] != "blob")) return std::nullopt;
  out.revision = parts[3];
  if (!is_safe_path(out.revision)) return std::nullopt;  // it names a file in the cache
  for (size_t i = 4; i < parts.size(); ++i) out.spec += (i == 4 ? "" : "/") + parts[i];
  return out;
}

// What a status of the server means to the user.
Error status_error(const std::string& what, const HttpAnswer& answer, bool has_token) {
  const int status = answer.status;
  if (status == 401 || status == 403) {
    if (answer.header("x-error-code") == "GatedRepo") {
      return Error(fmt::format(
          "{}: gated: accept its terms on its page, and set HF_TOKEN to a token of that account", what));
    }
    return Error(
        has_token
            ? fmt::format("{}: not allowed with this token (HTTP {}); set HF_TOKEN to one that may read it",
                          what, status)
            : fmt::format("{}: does not exist, or needs a token (HTTP {}): set HF_TOKEN", what, status));
  }
  if (status == 404) return Error(fmt::format("{}: not found (HTTP 404); is the name spelled right?", what));
  return Error(fmt::format("{}: the server answers HTTP {}{}", what, status,
                           is_temporary(status) ? "; try later" : ""));
}

// An answer of status 200, its body up to `limit` bytes. Throws TransportError where the server can't be reached.
std::string get_text(HttpClient& http, const std::string& url, const std::string& what, size_t limit,
                     const RetryPolicy& policy) {
  for (Retry retry(std::min(policy.attempts, 3), policy.first_wait_s);;) {
    std::string body;
    double wait_s = 0;
    try {
      HttpRequest request{.url = url};
      request.on_answer = [&](const HttpAnswer& answer) {
        if (answer.status == 200) return;
        const Error error = status_error(what, answer, http.has_token());
        if (!is_temporary(answer.status)) throw error;
        wait_s = retry_after_s(answer);
        throw TransportError(error.what());
      };
      request.on_body = [&](std::span<const uint8_t> bytes) {
        if (bytes.size() > limit - body.size()) fail("{}: the answer is larger than {} bytes", what, limit);
        body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      };
      http.send(request);
      return body;
    } catch (const TransportError&) {
      if (!retry.again(wait_s)) throw;
    }
  }
}

// What a server says of a file before it is downloaded.
struct Probe {
  std::string blob;
  RemoteFile file;
};

// `nullopt` for a server that does not answer HEAD.
std::optional<HttpAnswer> head(HttpClient& http, const std::string& url, const std::string& what,
                               const RetryPolicy& policy) {
  for (Retry retry(std::min(policy.attempts, 3), policy.first_wait_s);;) {
    try {
      HttpAnswer answer = http.send({.url = url, .head = true});
      if (answer.status == 200) return answer;
      // Signed URLs are often good for GET alone.
      if (answer.status == 403 || answer.status == 405 || answer.status == 501) return std::nullopt;
      const Error error = status_error(what, answer, http.has_token());
      if (!is_temporary(answer.status)) throw error;
      throw TransportError(error.what());
    } catch (const TransportError&) {
      if (!retry.again()) throw;
    }
  }
}

Probe probe(HttpClient& http, const std::string& url, const std::string& name, const RetryPolicy& policy) {
  Probe out{.file = {.name = name, .url = url}};
  const auto answer = head(http, url, name, policy);
  const auto header = [&](std::string_view linked, std::string_view own) {
    if (!answer) return std::string_view();
    const std::string_view value = answer->header(linked);
    return value.empty() ? answer->header(own) : value;
  };
  const std::string_view length = header("x-linked-size", "content-length");
  uint64_t size = 0;
  if (!length.empty() &&
      std::from_chars(length.data(), length.data() + length.size(), size).ec == std::errc())
    out.file.size = size;
  const std::string_view etag = header("x-linked-etag", "etag");
  // Without an entity tag nothing tells a later version of the file: its address and length stand in.
  out.blob =
      blob_name(etag.empty() ? fmt::format("{} {} {}", url, length, header("", "last-modified")) : etag);
  const bool is_sha256 = answer && !answer->header("x-linked-etag").empty() && out.blob.size() == 64 &&
                         out.blob.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (is_sha256) {
    out.file.sha256 = out.blob;
  } else if (etag.starts_with('"')) {
    out.file.etag = etag;
  }
  return out;
}

// Downloads the blob, unless it is there, and links it into the snapshot.
void fetch_file(HttpClient& http, const CachedRepo& repo, const std::string& commit, const std::string& path,
                const Probe& remote, const FetchOptions& options) {
  const std::string blob = repo.blob_path(remote.blob);
  const auto is_there = [&] {
    std::error_code error;
    const uint64_t size = fs::file_size(blob, error);
    return !error && (!remote.file.size || size == *remote.file.size);
  };
  if (!is_there()) {
    const auto waiting = [&] {
      if (options.report.note)
        options.report.note(fmt::format("{}: waiting for another process that downloads it", path));
    };
    repo.with_lock(remote.blob, waiting, [&] {
      if (is_there()) return;
      download_blob(http, remote.file, blob, options.retry, options.report, [&](const HttpAnswer& answer) {
        return status_error(remote.file.name, answer, http.has_token());
      });
    });
  }
  repo.link(commit, path, remote.blob);
}

FetchedModel fetched(const CachedRepo& cache, const HubModel& model, const std::string& commit,
                     const std::vector<HubFile>& files) {
  if (files.front().path.ends_with(".gguf")) {
    const std::string path = cache.file_path(commit, files.front().path);
    return {.path = path, .name = fs::path(path).stem()};
  }
  return {.path = cache.snapshot_path(commit), .name = model.repo.substr(model.repo.rfind('/') + 1)};
}

// The model as far as the cache has it; nullopt where it does not.
std::optional<FetchedModel> from_cache(const CachedRepo& cache, const HubModel& model) {
  const auto commit = cache.commit_of(model.revision);
  if (!commit) return std::nullopt;
  HubListing listing{.commit = *commit};
  for (const std::string& file : cache.files(*commit)) listing.files.push_back({.path = file});
  try {
    return fetched(cache, model, *commit, choose_model(listing, "hf:" + model.repo, model.spec));
  } catch (const Error&) {
    return std::nullopt;
  }
}

FetchedModel fetch_from_hub(const HubModel& model, const FetchOptions& options) {
  const std::string endpoint = hub_endpoint(), name = "hf:" + model.repo;
  const CachedRepo cache(hub_directory(), model.repo);
  if (options.offline) {
    if (auto cached = from_cache(cache, model)) return *cached;
    fail("{}{}{}: not in the cache {}; run it once without --offline", name, model.spec.empty() ? "" : ":",
         model.spec, hub_directory());
  }
  HttpClient http(hub_token(), endpoint);
  std::string text;
  try {
    text = get_text(http,
                    fmt::format("{}/api/models/{}/revision/{}?blobs=true", endpoint, model.repo,
                                encode_path(model.revision)),
                    name, kMaxListingBytes, options.retry);
  } catch (const TransportError& error) {
    auto cached = from_cache(cache, model);
    if (!cached) throw;
    if (options.report.note) options.report.note(fmt::format("{}; taking what is cached", error.what()));
    return *cached;
  }
  const HubListing listing = parse_hub_listing(text, name);
  const std::vector<HubFile> files = choose_model(listing, name, model.spec);
  for (const HubFile& file : files) {
    std::error_code error;
    const uint64_t size = fs::file_size(cache.file_path(listing.commit, file.path), error);
    if (!error && (!file.size || size == *file.size)) continue;
    const std::string url =
        fmt::format("{}/{}/resolve/{}/{}", endpoint, model.repo, listing.commit, encode_path(file.path));
    const std::string shown = fmt::format("{}:{}", name, file.path);
    Probe remote{.blob = file.blob,
                 .file = {.name = shown, .url = url, .size = file.size, .sha256 = file.sha256}};
    if (!file.size || file.blob.empty()) {
      remote = probe(http, url, shown, options.retry);
    } else if (file.sha256.empty()) {
      remote.file.etag = fmt::format("\"{}\"", file.blob);
    }
    fetch_file(http, cache, listing.commit, file.path, remote, options);
  }
  cache.write_ref(model.revision, listing.commit);
  return fetched(cache, model, listing.commit, files);
}

// A GGUF file at any address; a split one with all its parts.
FetchedModel fetch_from_url(const std::string& url, const FetchOptions& options) {
  constexpr const char* kSnapshot = "main";
  const size_t query = std::min(url.find('?'), url.find('#'));
  const size_t slash = url.rfind('/', query);
  const std::string file = decode_path(std::string_view(url).substr(slash + 1, query - slash - 1));
  if (!is_safe_path(file) || file.find('/') != std::string::npos)
    fail_usage("{}: expected the URL of a file", url);
  // One folder for all that lies beside each other, so that parts come together.
  Sha256 sha;
  sha.add(url.data(), slash);
  std::string host = url_origin(url);
  host.erase(0, host.find("//") + 2);
  std::ranges::replace(host, ':', '-');
  const CachedRepo cache(hub_directory(), fmt::format("{}/{}", host, to_hex(sha.digest()).substr(0, 16)));
  std::vector<std::string> files = {file};
  if (const auto split = parse_split_name(file)) {
    files.clear();
    for (uint32_t part = 1; part <= split->parts; ++part)
      files.push_back(split_name(split->prefix, part, split->parts));
  }
  const auto is_cached = [&] {
    return std::ranges::all_of(files, [&](const std::string& f) {
      std::error_code error;
      return fs::is_regular_file(cache.file_path(kSnapshot, f), error);
    });
  };
  const std::string path = cache.file_path(kSnapshot, files.front());
  const FetchedModel out{.path = path, .name = fs::path(path).stem()};
  if (options.offline) {
    if (!is_cached()) fail("{}: not in the cache {}; run it once without --offline", url, hub_directory());
    return out;
  }
  HttpClient http("", url);
  const std::string tail = query == std::string::npos ? "" : url.substr(query);
  try {
    for (const std::string& f : files) {
      const std::string address = fmt::format("{}/{}{}", url.substr(0, slash), encode_path(f), tail);
      fetch_file(http, cache, kSnapshot, f, probe(http, address, f, options.retry), options);
    }
    cache.write_ref("main", kSnapshot);
  } catch (const TransportError& error) {
    if (!is_cached()) throw;
    if (options.report.note) options.report.note(fmt::format("{}; taking what is cached", error.what()));
  }
  return out;
}

}  // namespace

bool is_remote_model(std::string_view model) {
  return model.starts_with(kHubPrefix) || model.starts_with("https://") || model.starts_with("http://");
}

FetchedModel fetch_model(const std::string& model, const FetchOptions& options) {
  if (model.starts_with(kHubPrefix)) return fetch_from_hub(parse_hub_model(model), options);
  if (const auto page = hub_page(model, hub_endpoint())) return fetch_from_hub(*page, options);
  return fetch_from_url(model, options);
}

}  // namespace forge
