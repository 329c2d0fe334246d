// A runtime for tests of the toolchain: a main() that shows that the generated code was linked.
#include <stdio.h>

#include "runtime/core/step.h"

extern "C" const forge::rt::ModelCode forge_model_code;

int main() {
  printf("%u tokens at %s\n", forge_model_code.n_vocab, forge_model_code.level);
  return 0;
}
