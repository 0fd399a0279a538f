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
command -v ip >/dev/null || missing+=(iproute2)
command -v java >/dev/null || missing+=(default-jre-headless)
command -v npm >/dev/null || missing+=(npm)
command -v soffice >/dev/null || missing+=(libreoffice-calc-nogui)

azurite=3.37.0
folder="${XDG_CACHE_HOME:-$HOME/.cache}/churnops-tests/azurite-$azurite"
install_azurite() {  # from npm, as Debian does not have it; scripts of packages do not run
  [ -x "$folder/node_modules/.bin/azurite-blob" ] || ! command -v npm >/dev/null && return 0
  echo "installing for tests: azurite in $folder"
  npm install --silent --ignore-scripts --no-audit --no-fund --fetch-retries=10 --prefix "$folder" "azurite@$azurite" \
    >/dev/null ||
    { rm -rf "$folder"; [ -z "${CI:-}" ]; }
}

[ ${#missing[@]} -eq 0 ] && { install_azurite; exit; }
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing for tests: ${missing[*]}"
  apt-get -o Acquire::Retries=10 update -qq
  DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=10 install -qq -y --no-install-recommends "${missing[@]}" \
    >/dev/null
  install_azurite
else
  echo "missing for some tests: ${missing[*]} (Debian: sudo apt-get install ${missing[*]})" >&2
  [ -z "${CI:-}" ]
fi
