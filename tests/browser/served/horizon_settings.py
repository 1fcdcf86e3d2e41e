"""Horizon's settings as an operator has them, with the plugin of this checkout. The environment says where things are."""

import os
from pathlib import Path

import stella_dashboard.enabled
from openstack_dashboard.local import enabled

# What an operator copies to `local/enabled` (docs/horizon/install.md), and nothing else that may be there.
enabled.__path__[:] = [str(Path(stella_dashboard.enabled.__file__).parent)]

from openstack_dashboard.settings import *  # noqa: E402, F403
from openstack_dashboard.settings import MIDDLEWARE  # noqa: E402

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
SECRET_KEY = "for-tests-only"
OPENSTACK_HOST = "127.0.0.1"
OPENSTACK_KEYSTONE_URL = os.environ["STELLA_TEST_KEYSTONE_URL"]
OPENSTACK_API_VERSIONS = {"identity": 3}
_FILES = Path(os.environ["STELLA_TEST_FILES"])
STATIC_ROOT = str(_FILES / "static")
LOCALE_PATHS = [str(path) for path in sorted((_FILES / "locale").glob("*"))]
COMPRESS_OFFLINE = True
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
API_RESULT_PAGE_SIZE = 20
MIDDLEWARE = (*MIDDLEWARE, "policy.StrictPolicy")
