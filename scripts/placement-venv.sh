#!/usr/bin/env bash
# Installs openstack-placement into a virtual environment of its own (default .venv/placement), for the functional tests and for
# `stella-bench scale load`, which measures Stella's API beside it. Idempotent. gunicorn is the release that stella-api runs under.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv/placement}
gunicorn=$(sed -n 's/^ *"\(gunicorn==[^"]*\)".*/\1/p' pyproject.toml)
# oslo.db is not tested with SQLAlchemy 2.1, see docs/decisions/0026
wanted="openstack-placement==16.0.0 sqlalchemy<2.1 PyMySQL==1.2.4 $gunicorn"

mkdir -p "$(dirname "$venv")"
exec 9> "$venv.lock" && flock 9  # two test runs make it once
if [ -f "$venv/.wanted" ] && [ "$(cat "$venv/.wanted")" = "$wanted" ]; then
  exit 0
fi
/usr/bin/python3 -m venv "$venv"
read -ra packages <<< "$wanted"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$venv/bin/pip" install -q --disable-pip-version-check "${packages[@]}" 2> "$log" || { tail -n 30 "$log" >&2; exit 1; }
echo "$wanted" > "$venv/.wanted"
echo "placement: installed in $venv"
