#!/usr/bin/env bash
# Keystone in a virtual environment of its own, for the tests: it shares no library with Stella's. Prints where it is.
# Made once; made again when the pinned versions change.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$PWD/.run/venvs/keystone
pins=scripts/keystone-requirements.txt
stamp=$venv/.stella-setup
wanted=$(sha256sum "$pins" | cut -d' ' -f1)
mkdir -p "${venv%/*}"
exec 9> "$venv.lock" && flock 9                  # two test runs make it once
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv" >&2
  "$venv/bin/pip" install -q --no-deps --disable-pip-version-check -r "$pins" 2> "$venv.log" >&2 || { tail -n 30 "$venv.log" >&2; exit 1; }
  echo "$wanted" > "$stamp"
fi
echo "$venv"
