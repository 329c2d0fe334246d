#include "download/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include "core/ascii.h"

namespace forge {
namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxHeaders = 200;
constexpr long kConnectTimeoutS = 20, kStallTimeoutS = 60;

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// One hop: what its callbacks need. They catch what is thrown: no exception may cross libcurl.
struct Transfer {
  const HttpRequest& request;
  HttpAnswer answer;
  bool redirects = false;  // this hop's answer leads elsewhere
  bool told = false;       // on_answer was called
  std::exception_ptr thrown;

  void tell() {
    if (redirects || std::exchange(told, true) || !request.on_answer) return;
    request.on_answer(answer);
  }
};

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool stays_across_hops(std::string_view name) {
  return name.starts_with("x-linked-") || name.starts_with("x-repo-") || name.starts_with("x-error-");
}

size_t on_header(char* data, size_t, size_t n, void* context) {
  auto& t = *static_cast<Transfer*>(context);
  const std::string_view line(data, n);
  if (line.starts_with("HTTP/")) {  // the status line; after an interim answer there is another one
    std::erase_if(t.answer.headers, [](const auto& h) { return !stays_across_hops(h.first); });
    const size_t space = line.find(' ');
    t.answer.status = 0;
    if (space != std::string_view::npos)
      std::from_chars(line.data() + space + 1, line.data() + line.size(), t.answer.status);
    t.redirects = false;
    return n;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || t.answer.headers.size() >= kMaxHeaders) return n;
  std::string name = ascii_lower(trim(line.substr(0, colon)));
  if (name == "location" && is_redirect(t.answer.status)) t.redirects = true;
  t.answer.headers.emplace(std::move(name), trim(line.substr(colon + 1)));
  return n;
}

size_t on_data(char* data, size_t, size_t n, void* context) {
  auto& t = *static_cast<Transfer*>(context);
  if (t.redirects) return n;
  try {
    t.tell();
    if (t.request.on_body) t.request.on_body({reinterpret_cast<const uint8_t*>(data), n});
    return n;
  } catch (...) {
    t.thrown = std::current_exception();
    return CURL_WRITEFUNC_ERROR;
  }
}

// curl's other errors are the network's, which may be better the next time.
bool is_permanent(CURLcode code) {
  return code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT ||
         code == CURLE_SSL_CACERT_BADFILE || code == CURLE_PEER_FAILED_VERIFICATION ||
         code == CURLE_SSL_PINNEDPUBKEYNOTMATCH;
}

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

void append(HeaderList& list, const std::string& header) {
  curl_slist* longer = curl_slist_append(list.get(), header.c_str());
  if (longer == nullptr) throw std::bad_alloc();
  if (list == nullptr) list.reset(longer);  // a longer list begins where it did
}

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

// One part of a URL, which must be HTTP or HTTPS.
std::string url_part(const std::string& url, CURLUPart part, unsigned flags) {
  const std::unique_ptr<CURLU, FreeUrl> parsed(curl_url());
  char* text = nullptr;
  if (parsed == nullptr || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parsed.get(), part, &text, flags) != CURLUE_OK) {
    fail("{}: not a URL", url);
  }
  std::string out = text;
  curl_free(text);
  return out;
}

}  // namespace

std::string_view HttpAnswer::header(std::string_view name) const {
  const auto it = headers.find(name);
  return it == headers.end() ? std::string_view() : std::string_view(it->second);
}

void HttpClient::Free::operator()(void* handle) const { curl_easy_cleanup(handle); }

HttpClient::HttpClient(std::string token, const std::string& token_url)
    : token_(std::move(token)), token_origin_(token_.empty() ? "" : url_origin(token_url)) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  handle_.reset(ready == CURLE_OK ? curl_easy_init() : nullptr);
  if (handle_ == nullptr) fail("libcurl can't be started");
}

HttpAnswer HttpClient::send(const HttpRequest& request) {
  CURL* const curl = handle_.get();
  std::string url = request.url;
  Transfer transfer{.request = request};
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    const std::string origin = url_origin(url);
    HeaderList headers;
    for (const std::string& header : request.headers) append(headers, header);
    if (!token_.empty() && origin == token_origin_) append(headers, "Authorization: Bearer " + token_);
    char reason[CURL_ERROR_SIZE] = "";
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "forge");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectTimeoutS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kStallTimeoutS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
    const CURLcode code = curl_easy_perform(curl);
    if (transfer.thrown) std::rethrow_exception(transfer.thrown);
    if (code != CURLE_OK) {
      const std::string message =
          fmt::format("{}: {}", origin, *reason != '\0' ? reason : curl_easy_strerror(code));
      if (is_permanent(code)) throw Error(message);
      throw TransportError(message);
    }
    if (!transfer.redirects) {
      transfer.tell();  // an answer without a body
      return std::move(transfer.answer);
    }
    char* next = nullptr;
    curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &next);
    if (next == nullptr) fail("{}: redirects to nowhere", url);
    const std::string target = next;
    if (url.starts_with("https:") && !target.starts_with("https:"))
      fail("{}: redirects from https to {}, which is refused", origin, url_origin(target));
    url = target;
  }
  fail("{}: more than {} redirects", request.url, kMaxRedirects);
}

std::string url_origin(const std::string& url) {
  const std::string scheme = url_part(url, CURLUPART_SCHEME, 0);
  if (scheme != "https" && scheme != "http") fail("{}: expected an http or https URL", url);
  return fmt::format("{}://{}:{}", scheme, ascii_lower(url_part(url, CURLUPART_HOST, 0)),
                     url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT));
}

std::string url_path(const std::string& url) { return url_part(url, CURLUPART_PATH, 0); }

std::string encode_path(std::string_view path) {
  constexpr std::string_view kAsTheyAre =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
  std::string out;
  for (const char c : path) {
    if (kAsTheyAre.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
    }
  }
  return out;
}

std::string decode_path(std::string_view path) {
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    uint8_t byte = 0;
    if (path[i] == '%' && i + 2 < path.size() &&
        std::from_chars(path.data() + i + 1, path.data() + i + 3, byte, 16).ptr == path.data() + i + 3) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += path[i];
    }
  }
  return out;
}

bool Retry::again(double at_least_s) {
  if (left_ <= 0) return false;
  --left_;
  std::this_thread::sleep_for(std::chrono::duration<double>(std::max(wait_, at_least_s)));
  wait_ *= 2;
  return true;
}

void Retry::reset() {
  left_ = all_ - 1;
  wait_ = first_;
}

bool is_temporary(int status) { return status == 408 || status == 429 || status >= 500; }

double retry_after_s(const HttpAnswer& answer) {
  const std::string_view text = answer.header("retry-after");
  unsigned seconds = 0;
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return std::min(seconds, 60U);
}

}  // namespace forge
