#!/usr/bin/env bash
# Installs what is missing, builds, and checks everything: tests, formatting, clang-tidy, the tests again under
# ASan and UBSan, and each fuzz target for a few seconds. Ends with a line "N passed, N failed, N skipped"; fails when
# anything failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
started=$SECONDS
results=build/test-results
failed_steps=0

step() { echo "== $((SECONDS - started)) s: $*"; }
fatal() {
  echo "test: $* failed" >&2
  echo "0 passed, 1 failed"
  exit 1
}

# suite BUILD_DIR NAME [ctest arguments]: runs the tests, keeping what each one reports.
suite() {
  local dir=$1 name=$2
  shift 2
  mkdir -p "$results/$name"
  GTEST_OUTPUT="xml:$PWD/$results/$name/" ctest --test-dir "$dir" -j "$(nproc)" --output-on-failure \
    --no-tests=error --output-junit "$PWD/$results/$name/ctest.junit" "$@" </dev/null
}

step "packages"
scripts/setup.sh || fatal "installing packages"

step "build"
cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Release -DFORGE_TESTS=ON -DFORGE_BENCH=ON >build-configure.log 2>&1 ||
  { cat build-configure.log; fatal "configuring"; }
mv build-configure.log build/configure.log
ninja -C build || fatal "the build"
rm -rf "$results" && mkdir -p "$results"

step "tests"
suite build release

step "clang-format"
unformatted=$(git ls-files -z '*.cpp' '*.h' | xargs -0 clang-format-19 --dry-run -Werror 2>&1 |
  sed -n 's/^\([^ :]*\):.*clang-format-violations.*/\1/p' | sort -u)
if [ -z "$unformatted" ]; then : >"$results/clang-format.passed"; else echo "not formatted: "$unformatted; fi

step "clang-tidy"
python3 scripts/tidy.py build && : >"$results/clang-tidy.passed"

step "build with sanitizers"
cmake -G Ninja -S . -B build/sanitized -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O1 -g1" -DFORGE_SANITIZE=ON \
  -DFORGE_FUZZ=ON -DFORGE_TESTS=ON >"$results/configure.log" 2>&1 || { cat "$results/configure.log"; fatal "configuring"; }
if ninja -C build/sanitized; then
  step "tests with sanitizers"
  suite build/sanitized sanitized -LE not_sanitized
fi

step "fuzzing, 10 s a target"
scripts/fuzz.sh 10 && : >"$results/fuzz.passed"

step "done"
python3 scripts/sum_tests.py "$results" release sanitized --checks clang-format clang-tidy fuzz
