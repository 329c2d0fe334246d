// One file over HTTP into the cache: resumed where an earlier attempt ended, checked, and there only when whole.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "download/http.h"

namespace forge {

struct RemoteFile {
  std::string name;  // for messages and the progress
  std::string url;
  std::optional<uint64_t> size;
  std::string sha256;  // lower-case hex; empty where the server does not say
  std::string etag;    // a strong entity tag with its quotes, for If-Range; empty: none
};

struct DownloadReport {
  // Both may be null.
  std::function<void(std::string_view name, uint64_t done, uint64_t total)> progress;
  std::function<void(std::string_view line)>
      note;  // what a user should know: waiting for another process, retrying
};

struct RetryPolicy {
  int attempts = 5;
  double first_wait_s = 1;
};

// Downloads to `path`; until it is whole, as long as its name says it is (size, SHA-256), it is PATH.incomplete.
// An interrupt, a lost connection or a full disk leaves that part, and the next call goes on from it: with a SHA-256
// to check the whole by, else where the entity tag is still the same. Throws Error; one for a status that the
// server answers is made by `status_error`.
void download_blob(HttpClient& http, const RemoteFile& file, const std::string& path,
                   const RetryPolicy& retry, const DownloadReport& report,
                   const std::function<Error(const HttpAnswer&)>& status_error);

}  // namespace forge
