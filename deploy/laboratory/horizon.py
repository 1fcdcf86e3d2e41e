"""Horizon under gunicorn, in a virtual environment of its own, with Stella's plugin as an operator installs it."""

import hashlib
import shutil
from pathlib import Path

from laboratory import files, packages
from laboratory.control_plane import answers_http
from laboratory.enclosure import Enclosure
from laboratory.services import Service, Services
from laboratory.settings import CACHE_PORT, REPOSITORY, Settings

_PLUGIN = ("python-stellaclient", "stella-dashboard")

_SETTINGS = """from openstack_dashboard.settings import *  # noqa: F403

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
SECRET_KEY = "{secret}"
OPENSTACK_HOST = "127.0.0.1"
OPENSTACK_KEYSTONE_URL = "{keystone}"
OPENSTACK_API_VERSIONS = {{"identity": 3}}
STATIC_ROOT = "{static}"
COMPRESS_OFFLINE = True
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
CACHES = {{
    "default": {{
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "127.0.0.1:{cache}",
        "KEY_PREFIX": "horizon",
    }}
}}
OPENSTACK_NEUTRON_NETWORK = {{"enable_router": False}}
"""
# Horizon's package has its translations as sources; distributions compile them, and so does this for the language that Stella has.
# The compressor works in threads and passes over what fails in one, so a page that needs every block is rendered afterwards.
_STATIC = """import os
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laboratory_settings")
import django  # noqa: E402
from babel.messages.mofile import write_mo  # noqa: E402
from babel.messages.pofile import read_po  # noqa: E402

for source in Path(django.__file__).parents[1].glob("*/locale/ko_KR/LC_MESSAGES/django*.po"):
    with source.open("rb") as texts, source.with_suffix(".mo").open("wb") as compiled:
        write_mo(compiled, read_po(texts))

django.setup()
from compressor.exceptions import OfflineGenerationError  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402

call_command("collectstatic", interactive=False, verbosity=0)
for attempt in range(4):
    call_command("compress", force=True, verbosity=0)
    try:
        assert Client(SERVER_NAME="127.0.0.1").get("/auth/login/").status_code == 200
        break
    except OfflineGenerationError:
        if attempt == 3:
            raise
"""
_WSGI = """import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laboratory_settings")
from django.core.wsgi import get_wsgi_application  # noqa: E402
from whitenoise import WhiteNoise  # noqa: E402

application = WhiteNoise(get_wsgi_application(), root="{static}", prefix="static/", autorefresh=False)
"""


class Horizon:
    """Static files once, then the service."""

    def __init__(self, settings: Settings, enclosure: Enclosure, services: Services) -> None:
        self._settings, self._enclosure, self._services = settings, enclosure, services
        self._directory = settings.data / "horizon"

    def configure(self) -> list[Path]:
        """Write its files; their paths."""
        static = self._directory / "static"
        static.mkdir(parents=True, exist_ok=True)
        text = _SETTINGS.format(
            secret=self._settings.passwords["horizon"],
            keystone=self._settings.keystone,
            static=static,
            cache=CACHE_PORT,
        )
        port = self._settings.ports["horizon"]
        gunicorn = (
            f'wsgi_app = "horizon_wsgi:application"\nbind = "127.0.0.1:{port}"\nworker_class = "gthread"\nworkers = 1\n'
            'threads = 4\ntimeout = 120\ngraceful_timeout = 2\nworker_tmp_dir = "/dev/shm"\ncontrol_socket_disable = True\n'
            f'pythonpath = "{self._directory}"\n'
        )
        return [
            files.write(self._directory / name, content)
            for name, content in (
                ("laboratory_settings.py", text),
                ("static_files.py", _STATIC),
                ("horizon_wsgi.py", _WSGI.format(static=static)),
                ("gunicorn.py", gunicorn),
            )
        ]

    def _plugin_digest(self) -> str:
        digest = hashlib.sha256(self._requirements_digest().encode())
        for project in _PLUGIN:
            for path in sorted((REPOSITORY / "plugins" / project).rglob("*")):
                if path.is_file() and path.suffix != ".pyc" and "tests" not in path.parts:
                    digest.update(f"{path.relative_to(REPOSITORY)}\n".encode() + path.read_bytes())
        return digest.hexdigest()

    @property
    def _plugin_mark(self) -> Path:
        return self._settings.environments / "horizon" / "stella-dashboard.digest"

    def plugin_done(self) -> bool:
        """Whether the plugin is installed as it is now."""
        return self._plugin_mark.exists() and self._plugin_mark.read_text() == self._plugin_digest()

    def plugin(self) -> None:
        """Install the plugin's wheels, and copy its `enabled` files, as docs/horizon/install.md says."""
        wheels = self._settings.environments / "wheels"
        for project in _PLUGIN:
            packages.build_wheel(self._settings, REPOSITORY / "plugins" / project)
        built = [
            max(wheels.glob(f"{project.replace('-', '_')}-*.whl"), key=lambda one: one.stat().st_mtime)
            for project in _PLUGIN
        ]
        packages.install(self._settings, "horizon", built)
        installed = next((self._settings.environments / "horizon" / "lib").glob("python3*/site-packages"))
        for path in (installed / "stella_dashboard" / "enabled").glob("_[0-9]*.py"):
            shutil.copy(path, installed / "openstack_dashboard" / "local" / "enabled")
        self._plugin_mark.write_text(self._plugin_digest())

    def static_done(self) -> bool:
        """Whether the static files are there."""
        mark = self._directory / "static.digest"
        return mark.exists() and mark.read_text() == self._digest()

    def _requirements_digest(self) -> str:
        return (self._settings.environments / "horizon" / "requirements.digest").read_text()

    def _digest(self) -> str:
        return f"{self._requirements_digest()} {self._plugin_digest()}"

    def static(self) -> None:
        """Collect and compress style sheets and scripts."""
        self.configure()
        python = self._settings.program("python", "horizon")
        self._enclosure.run([python, "-W", "ignore", str(self._directory / "static_files.py")])
        (self._directory / "static.digest").write_text(self._digest())

    def service(self) -> Service:
        """Horizon itself."""
        paths = self.configure()
        port = self._settings.ports["horizon"]
        return Service(
            name="horizon",
            argv=[self._settings.program("gunicorn", "horizon"), "-c", str(self._directory / "gunicorn.py")],
            files=[*paths, self._plugin_mark],
            ready=lambda: answers_http(port, "/auth/login/"),
        )

    def done(self) -> bool:
        """Whether it runs as configured."""
        return self._services.is_current(self.service())

    def run(self) -> None:
        """Start it."""
        self._services.ensure(self.service())
