// main of an artifact; linked with the generated code and forge_rt_host.
#include "runtime/host/program_main.h"

extern "C" const forge::rt::ModelCode forge_model_code;

int main(int argc, char** argv) { return forge::rt::program_main(&forge_model_code, argc, argv); }
