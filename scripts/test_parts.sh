#!/usr/bin/env bash
# Installs the programs that some tests need, if possible: as root on a Debian-like system.
# Elsewhere those tests are skipped, and pytest's summary names each missing program; in CI a skip is a failure.
set -euo pipefail
PATH=$PATH:/usr/sbin

missing=()
compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
command -v promtool >/dev/null || missing+=(prometheus)
command -v chromium >/dev/null || missing+=(chromium)
command -v haproxy >/dev/null || missing+=(haproxy)
command -v pgbouncer >/dev/null || missing+=(pgbouncer)
command -v java >/dev/null || missing+=(default-jre-headless)
command -v npm >/dev/null || missing+=(npm)

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing for tests: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "missing for some tests: ${missing[*]} (Debian: sudo apt-get install ${missing[*]})" >&2
  [ -z "${CI:-}" ]
fi
