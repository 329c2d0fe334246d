#!/usr/bin/env bash
# The bundled model behind `forge serve`, asked by the clients that people use: the npm packages openai, @anthropic-ai/sdk
# and the Vercel AI SDK (they stay in the user's cache), and curl. Arguments: forge, the source folder. Exits with 77 where
# node, npm or its registry is missing.
set -euo pipefail
forge=$1 source=$2
packages=(openai@6.49.0 @anthropic-ai/sdk@1.14.0 ai@4.3.19 @ai-sdk/openai-compatible@0.2.16)
skip() {
  echo "NOT TESTED: the server with its clients: $*"
  exit 77
}
command -v npm >/dev/null && command -v node >/dev/null || skip "needs node and npm"
command -v curl >/dev/null || skip "needs curl"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/forge-tests/clients-$(printf '%s ' "${packages[@]}" | sha256sum | cut -c1-12)
if [ ! -e "$cache/complete" ]; then
  mkdir -p "$cache" && echo '{"private": true}' >"$cache/package.json"
  (cd "$cache" && timeout 200 npm install --no-audit --no-fund --ignore-scripts "${packages[@]}") >"$cache/log" 2>&1 </dev/null ||
    skip "npm could not install ${packages[*]}: $(grep -m1 'npm error' "$cache/log" || echo 'no answer in time')"
  touch "$cache/complete"
fi
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
"$forge" serve "$source/models/storyteller-q8_0.gguf" --port 0 --api-key secret 2>"$work/log" &
server=$!
for _ in $(seq 600); do
  url=$(sed -n 's/.* at \(http:[^ ]*\) .*/\1/p' "$work/log")
  [ -n "$url" ] && break
  kill -0 "$server" || { cat "$work/log"; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "the server does not listen"; cat "$work/log"; exit 1; }
[ "$(curl -sf "$url/health")" = '{"status": "ok"}' ]
curl -sf "$url/v1/chat/completions" -H "Authorization: Bearer secret" -H "Content-Type: application/json" \
  -d '{"messages": [{"role": "user", "content": "Tell me a story about a cat."}], "max_tokens": 20}' | grep -q '"finish_reason": "length"'
cp "$source/tests/e2e/clients/clients_test.mjs" "$cache/"
(cd "$cache" && node clients_test.mjs "$url" secret)
kill "$server"
wait "$server"
