#!/usr/bin/env bash
# Installs the Debian packages that are missing. `scripts/setup.sh build` is enough to build and use forge; without
# an argument the tests' packages come too. Quick when nothing is missing; works as root or with sudo.
set -euo pipefail

build_packages=(
  ca-certificates git cmake ninja-build ccache g++ clang-19 lld-19
  libcli11-dev libfmt-dev nlohmann-json3-dev libssl-dev libcurl4-openssl-dev
  libboost1.81-dev libmbedtls-dev
)
test_packages=(
  llvm-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev
  libc++-19-dev-wasm32 libc++abi-19-dev-wasm32 libclang-rt-19-dev-wasm32 wasi-libc
  libstdc++-12-dev-arm64-cross libgtest-dev libgmock-dev libbenchmark-dev qemu-user python3 python3-numpy python3-jinja2
  chromium nodejs nginx-light openssl
)

case "${1:-all}" in
  build) wanted=("${build_packages[@]}") ;;
  all) wanted=("${build_packages[@]}" "${test_packages[@]}") ;;
  *) echo "usage: scripts/setup.sh [build|all]" >&2; exit 2 ;;
esac

installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qxF "installed $package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: not root, and sudo is missing; as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 \
    -o Dpkg::Use-Pty=0 "$@" </dev/null
}
echo "setup: installing ${missing[*]}"
apt update
apt install -y --no-install-recommends "${missing[@]}"
