#!/usr/bin/env bash
# Brings the catalogues of stella-dashboard up to date with its sources: new texts come in untranslated, those that are gone go.
# Needs gettext. docs/horizon/translating.md tells what to do then. STELLA_HORIZON names another environment that has Horizon.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$(realpath "${STELLA_HORIZON:-$(scripts/horizon-venv.sh | tail -n 1)}")
export PYTHONDONTWRITEBYTECODE=1
unset DJANGO_SETTINGS_MODULE
cd plugins/stella-dashboard/stella_dashboard
for catalogue in locale/*/; do
  "$venv/bin/python" -m django makemessages --locale "$(basename "$catalogue")" --no-wrap --no-location --no-obsolete
done
