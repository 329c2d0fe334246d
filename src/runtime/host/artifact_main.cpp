// main of an artifact; linked with the generated code and forge_rt_host.
#include <cstdlib>
#include <exception>
#include <string_view>

#include "runtime/host/files.h"
#include "runtime/host/program_main.h"

extern "C" const forge::rt::ModelCode forge_model_code;

// In place of libstdc++'s own, which would put its demangler into every artifact: nothing throws here.
void __gnu_cxx::__verbose_terminate_handler() {
  constexpr std::string_view kMessage = "internal error: terminated\n";
  forge::rt::write_all(2, forge::rt::as_bytes(kMessage));
  std::abort();
}

int main(int argc, char** argv) { return forge::rt::program_main(&forge_model_code, argc, argv); }
