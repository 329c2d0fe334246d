#!/usr/bin/env bash
# Installs what is missing, builds forge, compiles the bundled model to build/story, and lets it tell a story.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh build
if [ ! -f build/build.ninja ]; then
  echo "demo: configuring build/"
  cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Release -DFORGE_TESTS=OFF >/dev/null
fi
echo "demo: building forge"
ninja -C build forge
echo "demo: build/bin/forge compile models/storyteller-q8_0.gguf -o build/story"
build/bin/forge compile models/storyteller-q8_0.gguf -o build/story
echo "demo: build/story generate \"Once upon a time\" -n 200 --echo"
echo
build/story generate "Once upon a time" -n 200 --echo
