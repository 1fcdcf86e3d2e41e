"""Stella in the laboratory: the same Ansible roles that an operator runs, with the laboratory's variables."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import stella
from laboratory import files
from laboratory.enclosure import HERE, Enclosure
from laboratory.services import Services, answers
from laboratory.settings import HOST, REGION, REPOSITORY, LaboratoryError, Settings

VERSION = stella.__version__
ANSIBLE = REPOSITORY / "deploy" / "ansible"
ENGINE = REPOSITORY / "stella" / "cmd" / "stella_engine.py"
_SOURCES = ("stella", "etc", "deploy/ansible", "plugins", "pyproject.toml")


class Stella:
    """Its installation, then its configuration and services."""

    def __init__(self, settings: Settings, enclosure: Enclosure, services: Services) -> None:
        self._settings, self._enclosure, self._services = settings, enclosure, services

    @property
    def agent_socket(self) -> Path:
        """The agent's control socket as the machine sees it."""
        return self._settings.volatile / "run" / "xgos" / "xgos.sock"

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for top in _SOURCES:
            path = REPOSITORY / top
            for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if each.is_file() and each.suffix != ".pyc" and "__pycache__" not in each.parts:
                    digest.update(f"{each}\n".encode() + each.read_bytes())
        return digest.hexdigest()

    def _stamp(self, name: str) -> Path:
        return (
            self._settings.environments / "stella" if name == "install" else self._settings.stamps
        ) / f"{name}.digest"

    def _is_current(self, name: str) -> bool:
        stamp = self._stamp(name)
        return stamp.exists() and stamp.read_text() == self._digest()

    def _variables(self) -> dict[str, object]:
        """What differs from an operator's cloud: paths, a supervisor instead of systemd, and where things listen."""
        settings = self._settings
        state = settings.data / "stella"
        return {
            "stella_service_style": "supervised",
            "stella_supervisor": f"{HERE / 'supervise.sh'} {self._services.directory}",
            "stella_supervisor_directory": str(self._services.directory),
            "stella_log_directory": str(settings.logs),
            "stella_user": "root",
            "stella_group": "root",
            "stella_virtualenv": str(settings.environments / "stella"),
            "stella_python": "/usr/bin/python3",
            "stella_package": str(self._wheel()),
            "stella_pip": [
                *(settings.program("uv", "tools"), "pip", "install", "--quiet"),
                *("--python", settings.program("python", "stella")),
            ],
            "stella_etc_directory": str(settings.etc / "stella"),
            "stella_state_directory": str(state),
            "stella_api_bind_port": settings.ports["stella"],
            "stella_api_url": settings.url("stella"),
            "stella_database_password": settings.passwords["database"],
            "stella_database_admin": [
                *("/usr/bin/mariadb", "--no-defaults", "--user=root"),
                f"--socket={settings.volatile}/run/mariadb.sock",
            ],
            "stella_keystone_auth_url": settings.keystone,
            "stella_keystone_password": settings.passwords["stella"],
            "stella_keystone_admin_password": settings.passwords["admin"],
            "stella_region": REGION,
            "stella_memcached_servers": "127.0.0.1:11211",
            "stella_restart": not self._is_current("deployed"),
            "xgos_host_name": HOST,
            "xgos_mode": "enforce",
            "xgos_state_directory": str(settings.data / "xgos"),
            "xgos_run_directory": "/run/xgos",
            "xgos_host_reserved_cpu_cores": 0.3,
        }

    def _wheel(self) -> Path:
        return self._settings.environments / "wheels" / f"stella-{VERSION}-py3-none-any.whl"

    def _playbook(self, argv: list[str], *, inside: bool) -> None:
        home = self._settings.state / "ansible"
        groups = ["stella_api", "xgos", *(["stella_engine"] if ENGINE.exists() else [])]
        inventory = files.write(
            home / "inventory.yml",
            "all:\n  vars:\n    ansible_connection: local\n    ansible_python_interpreter: /usr/bin/python3\n  children:\n"
            + "".join(f"    {group}:\n      hosts:\n        {HOST}:\n" for group in groups),
        )
        variables = files.write(home / "variables.json", json.dumps(self._variables(), indent=1))
        program = self._settings.program("ansible-playbook", "tools")
        command = [program, "-i", str(inventory), "-e", f"@{variables}", *argv, str(ANSIBLE / "site.yml")]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
            "UV_CACHE_DIR": str(self._settings.environments / "cache"),
            "LC_ALL": "C.UTF-8",
        }
        log = self._settings.logs / "ansible.log"
        done = subprocess.run(
            self._enclosure.inside(command) if inside else command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=REPOSITORY,
        )
        with log.open("a", encoding="utf-8") as file:
            file.write(done.stdout + done.stderr)
        if done.returncode:
            lines = [line for line in done.stdout.splitlines() if "fatal:" in line or "FAILED" in line]
            words = " ".join((" ".join(lines) or done.stderr).split())[:500]
            raise LaboratoryError(f"ansible-playbook ended with {done.returncode}: {words} ({log})")

    def install_done(self) -> bool:
        """Whether the virtual environment has this tree's Stella."""
        return self._is_current("install")

    def install(self) -> None:
        """The roles' installation, where packages can be had: on the machine itself."""
        build = [
            self._settings.program("uv", "tools"),
            "build",
            "--quiet",
            "--wheel",
            "--out-dir",
            str(self._wheel().parent),
        ]
        cache = {"UV_CACHE_DIR": str(self._settings.environments / "cache")}
        done = subprocess.run(
            [*build, str(REPOSITORY)], capture_output=True, text=True, check=False, env={**os.environ, **cache}
        )
        if done.returncode:
            raise LaboratoryError(f"the wheel could not be built: {' '.join(done.stderr.split())[-400:]}")
        self._playbook(["--tags", "install"], inside=False)
        self._stamp("install").write_text(self._digest())

    def done(self) -> bool:
        """Whether API and agent run this tree's Stella."""
        return self._is_current("deployed") and answers(self._settings.ports["stella"]) and self.agent_socket.exists()

    def deploy(self) -> None:
        """Everything else the roles do, in the laboratory."""
        self._playbook(["--skip-tags", "install"], inside=True)
        self._stamp("deployed").write_text(self._digest())
