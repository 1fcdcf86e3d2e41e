#!/usr/bin/env bash
# Installs what Stella needs on Debian 12 (root): distribution packages, then a virtual environment in .venv.
# With --without-packages only the environment, without root: enough for `make up HOSTS=sim:5`, not for virtual machines and tests.
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
  gettext                                         # its tools find the texts of the dashboard that are not translated
  systemd                                         # systemd-analyze checks the unit; nothing of it is started
)

fail() {
  echo "setup: $1" >&2
  exit 1
}

install_packages() {
  [ "$(id -u)" = 0 ] || fail "must run as root (it installs packages and starts virtual machines); without root: make up HOSTS=sim:5"
  local missing=() package policy=/usr/sbin/policy-rc.d
  for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Services must not start themselves on the machine that only lends them their programs.
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap "rm -f '$policy'" EXIT
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > .setup.log 2>&1 || { tail -n 30 .setup.log >&2; exit 1; }
  rm -f .setup.log
}

make_environment() { # $1: the extra of pyproject.toml that it is for
  local stamp=.venv/.stella-setup wanted python=/usr/bin/python3 # the distribution's: it has libvirt's binding
  wanted=$(cat pyproject.toml plugins/*/pyproject.toml | sha256sum | cut -d' ' -f1)
  case "$(cat "$stamp" 2>/dev/null || true)" in
    "$wanted test" | "$wanted $1") return 0 ;;
  esac
  echo "setup: virtual environment in .venv"
  [ -x "$python" ] || python=python3
  if [ ! -x .venv/bin/pip ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed"
    "$python" -m venv --system-site-packages .venv > .pip.log 2>&1 || fail "python3 -m venv fails: install python3-venv"
  fi
  .venv/bin/pip install -q --disable-pip-version-check -e ".[$1]" -e "plugins/python-stellaclient[cli]" 2> .pip.log ||
    { tail -n 30 .pip.log >&2; exit 1; }
  rm -f .pip.log
  echo "$wanted $1" > "$stamp"
}

case "${1:-}" in
  "")
    install_packages
    make_environment test
    ;;
  --without-packages) make_environment bench ;;
  *) fail "$1: the only option is --without-packages" ;;
esac
