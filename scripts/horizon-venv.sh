#!/usr/bin/env bash
# Makes a virtual environment with Horizon (default .venv-horizon), for the unit tests of stella-dashboard. Idempotent; an environment
# that `make openstack` made from the same requirements is used as it is. The last line it prints is the environment's directory.
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=deploy/laboratory/requirements-horizon.txt
wanted=$(sha256sum < "$requirements" | cut -d' ' -f1)
venv=${1:-.venv-horizon}

for made in .venv-openstack/horizon "$venv"; do
  if [[ -x $made/bin/python && $(cat "$made/requirements.digest" 2>/dev/null) == "$wanted" ]]; then
    echo "$made"
    exit 0
  fi
done
exec 9> "$venv.lock" && flock 9  # two test runs make it once
if [[ $(cat "$venv/requirements.digest" 2>/dev/null) != "$wanted" ]]; then
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv"
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  "$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements" 2> "$log" || { tail -n 30 "$log" >&2; exit 1; }
  printf '%s' "$wanted" > "$venv/requirements.digest"
fi
echo "$venv"
