#!/bin/sh
# Compiles every source of runtime/core for wasm32: the runtime floor must not need threads, files or exceptions.
# usage: wasm_compile.sh SOURCE_DIR BUILD_DIR
set -u
source_dir=$1
out="$2/wasm"
clang=$(command -v clang++-19 || command -v clang++)
launcher=$(command -v ccache)
flags="--target=wasm32-wasi -std=c++20 -fno-exceptions -fno-rtti -O2 -ffp-contract=off -Wall -Wextra -Werror -I$source_dir/src"
mkdir -p "$out"
if ! echo '#include <string>' | "$clang" $flags -x c++ -fsyntax-only - 2>"$out/probe.txt"; then
  echo "SKIPPED: no C++ library for wasm32 here; install libc++-19-dev-wasm32 libclang-rt-19-dev-wasm32 wasi-libc" >&2
  cat "$out/probe.txt" >&2
  exit 77
fi
status=0
for source in "$source_dir"/src/runtime/core/*.cpp; do
  if ! $launcher "$clang" $flags -c "$source" -o "$out/$(basename "$source" .cpp).o"; then
    echo "FAILED: $source does not compile for wasm32" >&2
    status=1
  fi
done
exit $status
