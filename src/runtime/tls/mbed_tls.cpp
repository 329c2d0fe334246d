// TLS 1.2 by Mbed TLS 2.28: forward secrecy and authenticated encryption alone, no renegotiation, no resumption.
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/x509_crt.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runtime/server/tls.h"

namespace forge::rt {
namespace {

constexpr int kCipherSuites[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                                 MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                                 MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                                 MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                                 MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                                 MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                                 0};

// The kernel's generator needs no file and no state here.
int random_bytes(void* /*context*/, unsigned char* out, size_t n) {
  while (n > 0) {
    const ssize_t got = ::getrandom(out, n, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    out += got;
    n -= static_cast<size_t>(got);
  }
  return 0;
}

class MbedSession final : public TlsSession {
 public:
  MbedSession() { mbedtls_ssl_init(&ssl_); }
  MbedSession(const MbedSession&) = delete;
  MbedSession& operator=(const MbedSession&) = delete;
  ~MbedSession() override { mbedtls_ssl_free(&ssl_); }

  bool set_up(const mbedtls_ssl_config& config) {
    if (mbedtls_ssl_setup(&ssl_, &config) != 0) return false;
    mbedtls_ssl_set_bio(&ssl_, this, put, get, nullptr);
    return true;
  }
  bool receive(std::string_view wire, std::string& plain, std::string& wire_out) override {
    in_ = wire;
    out_ = &wire_out;
    if (ssl_.state != MBEDTLS_SSL_HANDSHAKE_OVER) {
      const int error = mbedtls_ssl_handshake(&ssl_);
      if (error != 0) return error == MBEDTLS_ERR_SSL_WANT_READ;
    }
    unsigned char record[MBEDTLS_SSL_MAX_CONTENT_LEN];
    for (;;) {
      const int n = mbedtls_ssl_read(&ssl_, record, sizeof record);
      if (n <= 0) return n == MBEDTLS_ERR_SSL_WANT_READ;
      plain.append(reinterpret_cast<const char*>(record), static_cast<size_t>(n));
    }
  }
  void send(std::string_view plain, std::string& wire_out) override {
    in_ = {};
    out_ = &wire_out;
    while (!plain.empty()) {
      const int n =
          mbedtls_ssl_write(&ssl_, reinterpret_cast<const unsigned char*>(plain.data()), plain.size());
      if (n <= 0) return;  // the session is over: receive() says so
      plain.remove_prefix(static_cast<size_t>(n));
    }
  }
  void close(std::string& wire_out) override {
    in_ = {};
    out_ = &wire_out;
    mbedtls_ssl_close_notify(&ssl_);
  }

 private:
  static int put(void* session, const unsigned char* bytes, size_t n) {
    static_cast<MbedSession*>(session)->out_->append(reinterpret_cast<const char*>(bytes), n);
    return static_cast<int>(n);
  }
  static int get(void* session, unsigned char* out, size_t n) {
    std::string_view& in = static_cast<MbedSession*>(session)->in_;
    if (in.empty()) return MBEDTLS_ERR_SSL_WANT_READ;
    n = std::min(n, in.size());
    in.copy(reinterpret_cast<char*>(out), n);
    in.remove_prefix(n);
    return static_cast<int>(n);
  }

  mbedtls_ssl_context ssl_;
  // Of the call that is under way.
  std::string_view in_;
  std::string* out_ = nullptr;
};

class MbedServer final : public TlsServer {
 public:
  MbedServer() {
    mbedtls_ssl_config_init(&config_);
    mbedtls_x509_crt_init(&certificate_);
    mbedtls_pk_init(&key_);
  }
  MbedServer(const MbedServer&) = delete;
  MbedServer& operator=(const MbedServer&) = delete;
  ~MbedServer() override {
    mbedtls_ssl_config_free(&config_);
    mbedtls_x509_crt_free(&certificate_);
    mbedtls_pk_free(&key_);
  }

  Status set_up(const std::string& certificate, const std::string& key) {
    // The parsers take the zero behind the text with it.
    const auto bytes = [](const std::string& s) { return reinterpret_cast<const unsigned char*>(s.c_str()); };
    if (mbedtls_x509_crt_parse(&certificate_, bytes(certificate), certificate.size() + 1) != 0)
      return Error{"the certificate: expected one or more in PEM (BEGIN CERTIFICATE)"};
    if (mbedtls_pk_parse_key(&key_, bytes(key), key.size() + 1, nullptr, 0) != 0)
      return Error{"the key: expected a private key in PEM, RSA or of an elliptic curve, without a password"};
    if (mbedtls_pk_check_pair(&certificate_.pk, &key_) != 0) return Error{"the key is not the certificate's"};
    if (mbedtls_ssl_config_defaults(&config_, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
        mbedtls_ssl_conf_own_cert(&config_, &certificate_, &key_) != 0 ||
        mbedtls_ssl_conf_alpn_protocols(&config_, protocols_) != 0)
      return Error{"TLS can't be set up: out of memory"};
    mbedtls_ssl_conf_min_version(&config_, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_ciphersuites(&config_, kCipherSuites);
    mbedtls_ssl_conf_rng(&config_, random_bytes, nullptr);
    return Ok{};
  }
  std::unique_ptr<TlsSession> accept() override {
    auto session = std::make_unique<MbedSession>();
    if (!session->set_up(config_)) return nullptr;
    return session;
  }

 private:
  mbedtls_ssl_config config_;
  mbedtls_x509_crt certificate_;
  mbedtls_pk_context key_;
  const char* protocols_[2] = {"http/1.1", nullptr};
};

Result<std::unique_ptr<TlsServer>> open_mbed_tls(const std::string& certificate, const std::string& key) {
  auto server = std::make_unique<MbedServer>();
  if (Status status = server->set_up(certificate, key); !status) return status.error();
  return std::unique_ptr<TlsServer>(std::move(server));
}

}  // namespace

const OpenTls open_tls_server = open_mbed_tls;

}  // namespace forge::rt
