#!/usr/bin/env bash
# Brings what the machine lacks, on Debian as root; anywhere else says in one line what to install. Safe to run again.
#
#   tools/bootstrap.sh python    a Python that can make a virtual environment; prints its path
#   tools/bootstrap.sh test      that, and what `make test` needs besides
#   tools/bootstrap.sh bench     that, and what `make bench` needs besides
set -euo pipefail

goal=${1:?python, test or bench}

python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

go_is_new() {
  local version
  version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
  printf 'go1.26\n%s\n' "$version" | sort -V -C
}

# One line for each thing that is missing: the Debian packages that bring it.
missing() {
  python >/dev/null || echo "python3 python3-venv"
  [ "$goal" != python ] || return 0
  command -v git >/dev/null || echo "git"
  command -v ip >/dev/null || echo "iproute2"
  command -v openssl >/dev/null || echo "openssl"
  command -v ssh >/dev/null || echo "openssh-client"
  [ -x /usr/sbin/sshd ] || echo "openssh-server"
  command -v unshare >/dev/null || echo "util-linux"
  command -v mount >/dev/null || echo "mount"
  command -v busybox >/dev/null || echo "busybox-static"
  command -v chromium-headless-shell >/dev/null || echo "chromium-headless-shell"
  # the cluster of tests/cluster: to build runc and pause, to make images, for the network of Pods and Services
  command -v gcc >/dev/null || echo "gcc libc6-dev"
  pkg-config --exists libseccomp 2>/dev/null || echo "pkg-config libseccomp-dev"
  command -v buildah >/dev/null || echo "buildah"
  command -v mmdebstrap >/dev/null || echo "mmdebstrap"
  command -v nft >/dev/null || echo "nftables"
  [ -x /usr/lib/cni/ptp ] || echo "containernetworking-plugins"
  [ "$goal" != bench ] || command -v wrk >/dev/null || echo "wrk"
}

say() {
  echo "bascule: $*" >&2
  exit 2
}

[ "$goal" = python ] || [ "$(uname -s)" = Linux ] || say "make test needs Linux (network namespaces); make demo and make check work here"
[ "$goal" = python ] || go_is_new || say "install Go 1.26 or newer, then run make again"

packages=$(missing | tr '\n' ' ')
if [ -n "$packages" ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "bascule: apt-get install $packages" >&2
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086  # a list of words
  { apt-get -qq update && apt-get -qq install -y --no-install-recommends $packages; } </dev/null >&2
  packages=$(missing | tr '\n' ' ')
fi
[ -z "$packages" ] || say "install what these Debian packages bring (Python 3.11 or newer), then run make again: $packages"
[ "$goal" != python ] || python
