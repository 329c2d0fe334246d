#!/usr/bin/env bash
# Fuzzes: scripts/fuzz.sh [SECONDS [TARGET...]]. Builds the targets of tests/fuzz in build/sanitized, as scripts/test.sh does, and
# runs each for SECONDS (default 60). Corpora grow under $FORGE_FUZZ_DIR (default ~/.cache/forge-fuzz), outside the
# tree. A finding is named, kept there, and fails the run.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "usage: scripts/fuzz.sh [SECONDS [TARGET...]]" >&2; exit 2; }
root=${FORGE_FUZZ_DIR:-${XDG_CACHE_HOME:-${HOME:?set FORGE_FUZZ_DIR}/.cache}/forge-fuzz}
build=build/sanitized

mkdir -p "$build" && cmake -G Ninja -S . -B "$build" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O1 -g1" \
  -DFORGE_SANITIZE=ON -DFORGE_FUZZ=ON -DFORGE_TESTS=ON >"$build/configure.log" 2>&1 ||
  { cat "$build/configure.log"; exit 1; }
ninja -C "$build" fuzz || exit 1
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || for path in "$build"/tests/fuzz/*_fuzz; do targets+=("$(basename "$path")"); done

# seeds TARGET DIRECTORY: what a target starts from, beside what it found before.
seeds() {
  case $1 in
    gguf_fuzz | tokenizer_json_fuzz) "$build/tests/fuzz/$1_seeds" "$2" ;;
    hf_config_fuzz) copy "$2" $(find tests/goldens/hf -name '*.json' ! -name tokenizer.json) ;;
    imatrix_fuzz) copy "$2" tests/goldens/imatrix/* ;;
    safetensors_fuzz) copy "$2" $(find tests/goldens/hf -name '*.safetensors*') ;;
    template_fuzz) copy "$2" tests/goldens/templates/*.jinja $(find ../shared/data/templates -name '*.jinja' 2>/dev/null) ;;
    *) copy "$2" $(find "tests/fuzz/seeds/${1%_fuzz}" -type f 2>/dev/null) ;;
  esac
}
# Names that differ only in their folders stay apart.
copy() {
  local to=$1 file
  shift
  for file in "$@"; do cp "$file" "$to/$(tr '/ ' '__' <<<"${file#../}")"; done
}

failed=0
for target in "${targets[@]}"; do
  mkdir -p "$root/$target/corpus" "$root/$target/seeds" "$root/$target/findings"
  seeds "$target" "$root/$target/seeds"
  dictionary=tests/fuzz/${target%_fuzz}.dict
  log=$root/$target/log
  if "$build/tests/fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="$root/$target/findings/" $([ -f "$dictionary" ] && echo "-dict=$dictionary") \
      "$root/$target/corpus" "$root/$target/seeds" >"$log" 2>&1 </dev/null; then
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs, no finding"
  else
    failed=1
    echo "$target: FAILED: $(grep -m1 -E 'ERROR|SUMMARY|deadly signal|runtime error' "$log" || tail -1 "$log")"
    echo "  $(grep -o 'Test unit written to .*' "$log" | tail -1); the whole report: $log"
  fi
done
exit $failed
