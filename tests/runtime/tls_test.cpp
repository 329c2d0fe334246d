// TLS: libcurl as the client, and clients that are none.
#include "runtime/server/tls.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <random>

#include "tests/core/temporary_directory.h"
#include "tests/runtime/http_server_rig.h"

namespace forge::rt {
namespace {

class TlsTest : public HttpServerTest {
 protected:
  TemporaryDirectory directory_;
  std::string certificate_ = directory_.file("cert.pem"), key_ = directory_.file("key.pem");
  std::unique_ptr<TlsServer> tls_;

  void SetUp() override {
    if (open_tls_server == nullptr) GTEST_SKIP() << "SKIPPED: built without TLS (package libmbedtls-dev)";
    make_certificate("ec -pkeyopt ec_paramgen_curve:P-256", certificate_, key_);
  }
  void TearDown() override {
    HttpServerTest::TearDown();
    server_.reset();  // before what it refers to
  }
  static std::string content(const std::string& path) {
    const auto bytes = forge::read_file(path);
    return {bytes.begin(), bytes.end()};
  }
  void make_certificate(const std::string& kind, const std::string& certificate,
                        const std::string& key) const {
    const std::string command =
        "openssl req -x509 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1 -newkey " +
        kind + " -out " + certificate + " -keyout " + key + " 2>" + directory_.file("log");
    ASSERT_EQ(std::system(command.c_str()), 0) << content(directory_.file("log"));  // NOLINT(cert-env33-c)
  }
  void start_tls() {
    auto opened = open_tls_server(content(certificate_), content(key_));
    ASSERT_TRUE(opened) << opened.error().message;
    tls_ = std::move(*opened);
    options_.tls = tls_.get();
    start();
    EXPECT_TRUE(server_->address().starts_with("https://"));
  }

  struct Fetched {
    CURLcode error = CURLE_OK;
    long status = 0;
    long connects = 0;
    std::string body;
  };
  // Asks `n` times over one connection; the last answer.
  Fetched fetch(const std::string& path, const std::string& body, int n = 1,
                const char* ciphers = nullptr) const {
    Fetched out;
    CURL* curl = curl_easy_init();
    const std::string url = "https://127.0.0.1:" + std::to_string(port_) + path;
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_CAINFO, certificate_.c_str());
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
    if (ciphers != nullptr) curl_easy_setopt(curl, CURLOPT_SSL_CIPHER_LIST, ciphers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &out.body);
    curl_easy_setopt(
        curl, CURLOPT_WRITEFUNCTION, +[](char* bytes, size_t one, size_t size, void* to) -> size_t {
          static_cast<std::string*>(to)->append(bytes, one * size);
          return one * size;
        });
    for (int i = 0; i < n; ++i) {
      out.body.clear();
      out.error = curl_easy_perform(curl);
      long connects = 0;
      curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connects);
      out.connects += connects;
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out.status);
    curl_easy_cleanup(curl);
    return out;
  }
};

TEST_F(TlsTest, AnswersOverOneConnection) {
  handler_ = [](Exchange&) {
    return [](const std::shared_ptr<Exchange>& e) {
      e->begin_stream({});
      for (int i = 0; i < 3; ++i) e->send(e->request.body);
      e->end_stream();
    };
  };
  for (const char* kind : {"ec -pkeyopt ec_paramgen_curve:P-256", "rsa:2048"}) {
    make_certificate(kind, certificate_, key_);
    start_tls();
    // Records are 16 KiB at most.
    for (const size_t size : {size_t{1}, size_t{16384}, size_t{300000}}) {
      const std::string body(size, 'x');
      const Fetched answer = fetch("/x", body, 3);
      EXPECT_EQ(answer.error, CURLE_OK) << curl_easy_strerror(answer.error);
      EXPECT_EQ(answer.status, 200);
      EXPECT_EQ(answer.connects, 1);
      EXPECT_EQ(answer.body, std::string(3 * size, 'x'));
    }
    stop();
  }
}

TEST_F(TlsTest, OnlyStrongCiphers) {
  start_tls();
  EXPECT_EQ(fetch("/x", "abc", 1, "ECDHE-ECDSA-CHACHA20-POLY1305").body, "3");
  for (const char* weak : {"ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"})
    EXPECT_EQ(fetch("/x", "abc", 1, weak).error, CURLE_SSL_CONNECT_ERROR) << weak;
}

TEST_F(TlsTest, SaysWhatIsWrongWithTheFiles) {
  const std::string other_key = directory_.file("other");
  make_certificate("rsa:2048", directory_.file("unused"), other_key);
  const std::string certificate = content(certificate_);
  const std::string key = content(key_);
  const auto error = [](const std::string& c, const std::string& k) {
    const auto opened = open_tls_server(c, k);
    return opened ? "" : opened.error().message;
  };
  EXPECT_EQ(error(certificate, key), "");
  EXPECT_EQ(error(certificate, content(other_key)), "the key is not the certificate's");
  EXPECT_TRUE(error(key, key).starts_with("the certificate: ")) << error(key, key);
  EXPECT_TRUE(error("", key).starts_with("the certificate: "));
  EXPECT_TRUE(error(certificate, certificate).starts_with("the key: "));
  EXPECT_TRUE(error(certificate, "").starts_with("the key: "));
}

TEST_F(TlsTest, HandshakesHaveTheHeadersDeadline) {
  options_.header_s = 1;
  start_tls();
  HttpClient half(port_);
  half.send("\x16\x03\x01\x02");
  HttpClient plain(port_);
  plain.send(http_request("GET", "/x", {}));
  EXPECT_EQ(plain.read_until("HTTP").find("HTTP"), std::string::npos);
  EXPECT_EQ(half.read_until("x"), "");
  EXPECT_EQ(fetch("/x", "abc").body, "3");
}

TEST_F(TlsTest, ClientsThatLeaveAreNoticed) {
  Kept kept;
  keep_exchange(kept, [](Exchange& exchange) {
    exchange.begin_stream({});
    exchange.send("begun");
  });
  start_tls();
  const std::string command =
      "{ printf 'GET /x HTTP/1.1\\r\\n\\r\\n'; sleep 1; } | openssl s_client -quiet -no_ign_eof -connect "
      "127.0.0.1:" +
      std::to_string(port_) + " 2>/dev/null | grep -q begun";
  EXPECT_EQ(std::system(command.c_str()), 0);  // NOLINT(cert-env33-c)
  expect_gone(kept);
}

// What a client says first.
std::string client_hello() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), size), 0);
  EXPECT_EQ(listen(listener, 1), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::thread client([port = ntohs(address.sin_port)] {
    CURL* curl = curl_easy_init();
    const std::string url = "https://127.0.0.1:" + std::to_string(port);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_perform(curl);
    curl_easy_cleanup(curl);
  });
  const int fd = accept(listener, nullptr, nullptr);
  std::string out(4096, '\0');
  out.resize(static_cast<size_t>(std::max<ssize_t>(recv(fd, out.data(), out.size(), 0), 0)));
  close(fd);
  close(listener);
  client.join();
  return out;
}

// Each session ends or waits for more; what it was given is never taken for a request.
TEST_F(TlsTest, HostileRecords) {
  const std::string hello = client_hello();
  ASSERT_GT(hello.size(), 100U);
  const auto server = open_tls_server(content(certificate_), content(key_));
  ASSERT_TRUE(server);
  std::mt19937 random(5);  // NOLINT(cert-msc51-cpp): the same each time
  size_t n_shaking = 0;
  size_t n_over = 0;
  for (int i = 0; i < 600; ++i) {
    std::string bytes = hello;
    if (i != 0) {
      for (size_t n = 1 + random() % 4; n != 0; --n) {
        const size_t at = random() % bytes.size();
        if (random() % 4 == 0) bytes.insert(at, 1 + random() % 40, static_cast<char>(random()));
        if (random() % 4 == 0) bytes.erase(at, random() % 40);
        bytes[at % bytes.size()] = static_cast<char>(random());
      }
    }
    const auto session = (*server)->accept();
    ASSERT_NE(session, nullptr);
    std::string plain;
    std::string reply;
    bool goes_on = true;
    for (std::string_view rest = bytes; goes_on && !rest.empty();) {
      const size_t n = std::min<size_t>(rest.size(), 1 + random() % 300);
      goes_on = session->receive(rest.substr(0, n), plain, reply);
      rest.remove_prefix(n);
    }
    ASSERT_EQ(plain, "");
    n_over += !goes_on;
    n_shaking += goes_on && !reply.empty();
    if (i == 0) ASSERT_TRUE(goes_on && !reply.empty());
  }
  EXPECT_GT(n_over, 60U);
  EXPECT_GT(n_shaking, 6U);
}

}  // namespace
}  // namespace forge::rt
