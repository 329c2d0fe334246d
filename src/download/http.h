// HTTP and HTTPS over libcurl, as downloads need it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace forge {

// No answer, or a part of one: worth another attempt, unlike other Errors.
class TransportError : public Error {
 public:
  using Error::Error;
};

struct HttpAnswer {
  int status = 0;
  // By lower-case name; the first value where there are several. Of the last hop, and x-linked-…, x-repo-… and
  // x-error-… of any hop: Hugging Face says there what its redirect leads to.
  std::map<std::string, std::string, std::less<>> headers;

  // Empty where absent.
  std::string_view header(std::string_view name) const;
};

struct HttpRequest {
  std::string url;
  bool head = false;
  std::vector<std::string> headers = {};  // "Range: bytes=5-"
  // Both may be null, and may throw: that ends the transfer. The answer comes before the first bytes of its body; a
  // redirect's are not shown.
  std::function<void(const HttpAnswer& answer)> on_answer = {};
  std::function<void(std::span<const uint8_t> bytes)> on_body = {};
};

class HttpClient {
 public:
  // `token`, where not empty, is sent as a bearer token to the origin (scheme, host, port) of `token_url` and to no
  // other, wherever redirects lead.
  HttpClient(std::string token, const std::string& token_url);

  // Follows up to 10 redirects, never from https to http. Returns with any status. Throws TransportError where the
  // connection fails, stalls for a minute or ends early, Error where the server can't be trusted or the URL is none.
  HttpAnswer send(const HttpRequest& request);

  bool has_token() const { return !token_.empty(); }

 private:
  struct Free {
    void operator()(void* handle) const;
  };
  std::string token_, token_origin_;
  std::unique_ptr<void, Free> handle_;  // kept between requests, and with it the connection
};

// "https://huggingface.co:443" of a URL. Throws Error for what is no HTTP or HTTPS URL.
std::string url_origin(const std::string& url);
// The path of a URL, as it stands there: "/a%20b/c.gguf". Throws Error as url_origin does.
std::string url_path(const std::string& url);
// Percent-encodes all but unreserved characters and '/'.
std::string encode_path(std::string_view path);
// Percent-decodes.
std::string decode_path(std::string_view path);

// Attempts with growing waits between them.
class Retry {
 public:
  // Waits first_wait_s before the second attempt, twice as long before each later one.
  Retry(int attempts, double first_wait_s)
      : left_(attempts - 1), all_(attempts), first_(first_wait_s), wait_(first_wait_s) {}
  // Waits, at least `at_least_s`; false, at once, where all attempts are used up.
  bool again(double at_least_s = 0);
  // There was progress: as many attempts as at the start.
  void reset();

 private:
  int left_, all_;
  double first_, wait_;
};

// Whether a status is worth another attempt: the server is busy or broken for now.
bool is_temporary(int status);
// Seconds that a Retry-After asks for, at most a minute; 0 where there is none.
double retry_after_s(const HttpAnswer& answer);

}  // namespace forge
