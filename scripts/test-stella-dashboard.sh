#!/usr/bin/env bash
# Django's unit tests of stella-dashboard, inside Horizon: no service, no root, no browser; half a minute.
# Arguments go to the test runner, such as `tests.test_list`. STELLA_HORIZON names another environment that has Horizon.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$(realpath "${STELLA_HORIZON:-$(scripts/horizon-venv.sh | tail -n 1)}")
export PYTHONPATH="$PWD/plugins/stella-dashboard:$PWD/plugins/python-stellaclient" PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore
export DJANGO_SETTINGS_MODULE=tests.settings
cd plugins/stella-dashboard
exec "$venv/bin/python" -m django test --verbosity 1 "${@:-tests}"
