// Programs with TLS and without, asked by openssl.
#include <filesystem>

#include "tests/e2e/command_test.h"

namespace forge {
namespace {

class TlsCli : public CommandTest {
 protected:
  static void SetUpTestSuite() {
    set_up_commands();
    model_ = FORGE_SOURCE_DIR "/models/storyteller-q8_0.gguf";
  }
  void SetUp() override {
    if (!std::filesystem::exists(FORGE_BUILD_DIR "/lib/forge/x86_64-linux-gnu/libforge_tls.a"))
      GTEST_SKIP() << "SKIPPED: forge was built without TLS (package libmbedtls-dev)";
    output(
        "openssl req -x509 -nodes -days 2 -subj /CN=test -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
        "-out cert.pem -keyout key.pem");
  }
  // What /health says over TLS of a server that `command` starts.
  std::string health(const std::string& command) const {
    return output(command + R"( serve --port 0 --cert cert.pem --key key.pem 2>log & server=$!
      for i in $(seq 600); do grep -q https: log && break; sleep 0.1; done
      port=$(sed -n 's/.*https:..127.0.0.1:\([0-9]*\).*/\1/p' log)
      printf 'GET /health HTTP/1.0\r\n\r\n' |
        openssl s_client -quiet -CAfile cert.pem -verify_return_error -connect 127.0.0.1:$port 2>openssl.log
      kill $server; wait $server)");
  }
};

TEST_F(TlsCli, ProgramsSpeakItWhereTheyWereCompiledWithIt) {
  output("$forge compile $model --tls -o with && $forge compile $model -o without");
  EXPECT_TRUE(health("./with").ends_with("{\"status\": \"ok\"}\n")) << shell("cat log openssl.log").output;
  EXPECT_EQ(error("./without serve --port 0 --cert cert.pem --key key.pem", 1),
            "without: --cert: this program was compiled without TLS (forge compile --tls)");
  EXPECT_EQ(error("./with serve --port 0 --cert cert.pem", 2), "with: TLS needs both --cert and --key");
  EXPECT_EQ(error("./with serve --port 0 --cert cert.pem --key cert.pem", 1),
            "with: --cert cert.pem --key cert.pem: the key: expected a private key in PEM, RSA or of an "
            "elliptic curve, without a password");
  // Nothing of it is in the others.
  EXPECT_EQ(shell("grep -q TLS-ECDHE-RSA with").status, 0);
  EXPECT_EQ(shell("grep -q TLS-ECDHE-RSA without").status, 1);
  EXPECT_GT(std::filesystem::file_size(file("with")), std::filesystem::file_size(file("without")));
  if (!std::filesystem::exists(FORGE_BUILD_DIR "/lib/forge/aarch64-linux-gnu/libforge_tls.a")) {
    const std::string said = error("$forge compile $model --tls --triple aarch64-linux-gnu -o arm", 1);
    EXPECT_NE(said.find("--tls: "), std::string::npos) << said;
    EXPECT_NE(said.find("libmbedtls-dev is not installed for aarch64-linux-gnu"), std::string::npos) << said;
  }
}

TEST_F(TlsCli, ServeCompilesWithIt) {
  EXPECT_TRUE(health("run() { command=$1; shift; exec $forge $command $model \"$@\"; }; run")
                  .ends_with("{\"status\": \"ok\"}\n"))
      << shell("cat log openssl.log").output;
}

TEST_F(TlsCli, EmittedSourceBuildsWithIt) {
  output("$forge compile $model --tls --emit source -o folder && CXX=clang++-19 ./folder/build.sh");
  EXPECT_TRUE(health("./folder/program").ends_with("{\"status\": \"ok\"}\n"));
}

}  // namespace
}  // namespace forge
