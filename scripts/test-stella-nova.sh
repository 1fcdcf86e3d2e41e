#!/usr/bin/env bash
# The tests of stella-nova inside Nova: its own functional fixtures, no service, no root; half a minute.
# $1: the environment that has Nova and Placement (as `make openstack` leaves it). It is read only: what the tests need beside it is
# installed into .venv-nova of this directory.
set -euo pipefail
cd "$(dirname "$0")/.."
services=$(realpath "${1:-.venv-openstack/services}")
site=$(echo "$services"/lib/python3*/site-packages)
if [[ ! -x $services/bin/python || ! -d $site/nova ]]; then
  echo "no Nova in $services: run 'make openstack' first, or name an environment that has Nova" >&2
  exit 1
fi
venv=.venv-nova
if ! [[ -f $venv/ready && $(<"$venv/ready") == "$site" ]]; then
  rm -rf "$venv"
  "$services/bin/python" -m venv "$venv"
  echo "$site" > "$(echo "$venv"/lib/python3*/site-packages)/services.pth"
  "$venv/bin/pip" install -q --disable-pip-version-check -r plugins/stella-nova/nova_tests/requirements.txt
  echo "$site" > "$venv/ready"
fi
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
cp -r "$services/etc" "$state/"
touch "$state/etc/nova/policy.yaml"
export PYTHONPATH="$PWD/plugins/stella-nova:$PWD/plugins/stella-nova/nova_tests" OS_STDOUT_CAPTURE=1 OS_STDERR_CAPTURE=1
export PYTHONWARNINGS=ignore STELLA_NOVA_STATE=$state OS_NOVA_DISABLE_EVENTLET_PATCHING=true
exec_python=$PWD/$venv/bin/python runner=$PWD/plugins/stella-nova/nova_tests/run.py
cd "$state"
"$exec_python" "$runner" "${2:-test_scheduling}"
