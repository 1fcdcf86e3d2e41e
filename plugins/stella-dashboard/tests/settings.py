"""Horizon's own settings for tests, with the plugin enabled as an operator does it."""

import tempfile
from pathlib import Path

from horizon.utils.secret_key import generate_key
from openstack_dashboard import enabled as horizons
from openstack_dashboard.test.settings import *  # noqa: F403
from openstack_dashboard.test.settings import HORIZON_CONFIG, INSTALLED_APPS
from openstack_dashboard.utils import settings as settings_utils
from stella_dashboard import enabled

from tests import catalogues

SECRET_KEY = generate_key()
COMPRESS_ENABLED, COMPRESS_PRECOMPILERS = False, ()  # styles are compiled once, at install, and not for each page
POLICY_CHECK_FUNCTION = "openstack_auth.policy.check"
for key in ("dashboards", "default_dashboard"):
    HORIZON_CONFIG.pop(key, None)
INSTALLED_APPS = [name for name in INSTALLED_APPS if not name.startswith("openstack_dashboard.dashboards")]
settings_utils.update_dashboards([horizons, enabled], HORIZON_CONFIG, INSTALLED_APPS)
_compiled = tempfile.TemporaryDirectory()  # the wheel has them compiled, the sources do not
LOCALE_PATHS = [catalogues.compile_all(Path(_compiled.name))]
