#!/usr/bin/env bash
# Installs Debian's chromium and fonts that have Korean (root), for the browser tests. Playwright and axe-core are among Stella's test
# requirements (scripts/setup.sh) and bring no browser: tests start this one. Idempotent; nothing to do takes no time.
set -euo pipefail
packages=(chromium fonts-dejavu-core fonts-nanum)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "browser: must run as root to install ${missing[*]}" >&2; exit 1; }
echo "browser: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" > "$log" 2>&1 || { tail -n 30 "$log" >&2; exit 1; }
