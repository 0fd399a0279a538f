#!/usr/bin/env bash
# Installs the programs of `make check-deploy`, as root on a Debian-like system: they build images and check units.
set -euo pipefail

missing=()
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v buildah >/dev/null || missing+=(buildah)
command -v systemd-analyze >/dev/null || missing+=(systemd)
[ ${#missing[@]} -eq 0 ] && exit
echo "installing for tests: ${missing[*]}"
apt-get -o Acquire::Retries=10 update -qq
DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=10 install -qq -y --no-install-recommends "${missing[@]}" \
  >/dev/null
