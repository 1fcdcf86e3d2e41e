#!/usr/bin/env bash
# Installs what Stella needs on Debian 12 (root): distribution packages, then a virtual environment in .venv.
# Idempotent; a second run with nothing to do takes under a second.
set -euo pipefail
cd "$(dirname "$0")/.."

PACKAGES=(
  python3 python3-venv python3-libvirt            # the agent (libvirt-python has no wheels on PyPI)
  libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-clients
  qemu-system-x86 qemu-utils linux-image-cloud-amd64 busybox-static cpio
  fio sysbench sockperf nbdkit                    # the laboratory's loads and back ends
  iproute2 nftables util-linux kmod procps openssl
  prometheus                                      # promtool checks the metrics
  mariadb-server-core                             # stella-api is tested on SQLite and on MariaDB, which the tests start
  systemd                                         # systemd-analyze checks the unit; nothing of it is started
)

[ "$(id -u)" = 0 ] || { echo "setup: must run as root (it installs packages and starts virtual machines)" >&2; exit 1; }

missing=()
for package in "${PACKAGES[@]}"; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Services must not start themselves on the machine that only lends them their programs.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > .setup.log 2>&1 || { tail -n 30 .setup.log >&2; exit 1; }
  rm -f .setup.log
fi

stamp=.venv/.stella-setup
wanted=$(cat pyproject.toml plugins/*/pyproject.toml | sha256sum | cut -d' ' -f1)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  echo "setup: virtual environment in .venv"
  [ -x .venv/bin/python ] || /usr/bin/python3 -m venv --system-site-packages .venv
  .venv/bin/pip install -q --disable-pip-version-check -e '.[test]' -e plugins/python-stellaclient 2> .pip.log || { tail -n 30 .pip.log >&2; exit 1; }
  rm -f .pip.log
  echo "$wanted" > "$stamp"
fi
