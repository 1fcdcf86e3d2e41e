"""Stella in the laboratory: the same Ansible roles that an operator runs, with the laboratory's variables."""

import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import stella
from laboratory import files, packages
from laboratory.control_plane import answers_http
from laboratory.enclosure import HERE, Enclosure
from laboratory.services import Services
from laboratory.settings import REGION, REPOSITORY, Host, LaboratoryError, Settings

VERSION = stella.__version__
ANSIBLE = REPOSITORY / "deploy" / "ansible"
CONTROLLER_GROUPS = ("stella_api", "stella_engine")
COMPUTE_GROUPS = ("xgos",)
NOVA_GROUPS = ("stella_nova",)
_SOURCES = ("stella", "etc", "deploy/ansible", "plugins", "pyproject.toml")
_NOVA_SOURCES = ("plugins/stella-nova", "deploy/ansible/roles/stella_nova", "deploy/ansible/site.yml")


class Stella:
    """Its installation, then its configuration and services."""

    def __init__(self, settings: Settings, enclosure: Enclosure) -> None:
        self._settings, self._enclosure = settings, enclosure

    @staticmethod
    def _digest(*tops: Path) -> str:
        digest = hashlib.sha256()
        for path in tops:
            for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if each.is_file() and each.suffix != ".pyc" and "__pycache__" not in each.parts:
                    digest.update(f"{each}\n".encode() + each.read_bytes())
        return digest.hexdigest()

    def _stamps(self) -> dict[str, tuple[Path, str]]:
        """For what was done: the file that remembers from what, and from what it would be done now."""
        settings = self._settings
        own = self._digest(*(REPOSITORY / top for top in _SOURCES))
        nova_sources = [REPOSITORY / top for top in _NOVA_SOURCES]
        nova = self._digest(*nova_sources)
        environment = settings.environments / "services"
        configured = self._digest(
            *nova_sources, *(path for path in [settings.etc / "nova" / "nova.conf"] if path.exists())
        )
        return {
            "install": (settings.environments / "stella" / "install.digest", own),
            "deployed": (settings.stamps / "deployed.digest", own),
            "nova install": (environment / "stella-nova.digest", nova),
            "nova": (settings.stamps / "stella-nova.digest", configured),
        }

    def _is_current(self, name: str) -> bool:
        stamp, digest = self._stamps()[name]
        return stamp.exists() and stamp.read_text() == digest

    def _remember(self, name: str) -> None:
        stamp, digest = self._stamps()[name]
        stamp.write_text(digest)

    def _of_host(self, host: Host) -> dict[str, object]:
        """What differs between hosts. The agent's directory has the same name on one of several hosts as beside the control plane."""
        services = Services(Enclosure(self._settings, host))
        own: dict[str, object] = {
            "stella_supervisor": f"{HERE / 'supervise.sh'} {services.directory}",
            "stella_supervisor_directory": str(services.directory),
            "stella_log_directory": str(host.logs),
            "xgos_host_name": host.name,
            "xgos_state_directory": str(host.data / "xgos"),
            "xgos_run_directory": "/run/xgos",
        }
        if host.cpus:
            own |= {
                "stella_supervisor": str(self._supervisor(host)),
                "xgos_etc_directory": str(host.etc / "stella"),
                "xgos_run_directory": str(host.agent_socket.parent),
            }
        return own

    def _supervisor(self, host: Host) -> Path:
        """The program by which Ansible, which runs beside the control plane, starts a service on one of several hosts."""
        place = Enclosure(self._settings, host)
        path = host.data / "supervise"
        if place.is_open():
            command = [str(HERE / "supervise.sh"), str(Services(place).directory)]
            files.write(path, f'#!/bin/sh\nexec {shlex.join(place.supervised_from_controller(command))} "$@"\n')
            path.chmod(0o700)
        return path

    def _variables(self) -> dict[str, object]:
        """What differs from an operator's cloud: paths, a supervisor instead of systemd, and where things listen."""
        settings = self._settings
        state = settings.data / "stella"
        return {
            "stella_service_style": "supervised",
            "stella_user": "root",
            "stella_group": "root",
            "stella_virtualenv": str(settings.environments / "stella"),
            "stella_python": "/usr/bin/python3",
            "stella_package": str(self._wheel("stella")),
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
            "stella_notifications_transport_url": settings.queue,
            "stella_restart": not self._is_current("deployed"),
            "stella_nova_package": str(self._wheel("stella_nova")),
            "stella_nova_wheel_directory": str(settings.environments / "services" / "stella-nova"),
            "stella_nova_python": settings.program("python"),
            "stella_nova_pip": [
                *(settings.program("uv", "tools"), "pip", "install", "--quiet"),
                *("--python", settings.program("python")),
            ],
            "stella_nova_configuration": str(settings.etc / "nova" / "nova.conf"),
            "stella_nova_directory": str(settings.etc / "nova" / "nova.conf.d"),
            "stella_nova_group": "root",
            "stella_nova_password": settings.passwords["nova"],
            # The laboratory starts a service again when a file that it reads changed.
            "stella_nova_restart_command": [],
            "xgos_mode": "enforce",
            # The machine may do other work, which nobody promised anything: it waits while a floor needs its CPU.
            "xgos_host_reserved_cpu_cores": 0.3,
            "xgos_host_overhead": "reserved",
        }

    def _wheel(self, name: str) -> Path:
        return self._settings.environments / "wheels" / f"{name}-{VERSION}-py3-none-any.whl"

    def _playbook(self, argv: list[str], *, groups: Mapping[str, Sequence[Host]], inside: bool) -> None:
        home = self._settings.state / "ansible"
        name = next(iter(groups))
        inventory = files.write(home / f"{name}.yml", json.dumps(self._inventory(groups), indent=1))
        variables = files.write(home / f"{name}.json", json.dumps(self._variables(), indent=1))
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

    def _inventory(self, groups: Mapping[str, Sequence[Host]]) -> dict[str, object]:
        """The hosts of each group; every one is this machine. JSON is YAML."""
        hosts = {host.name: host for each in groups.values() for host in each}
        return {
            "all": {
                "vars": {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"},
                "hosts": {name: self._of_host(host) for name, host in hosts.items()},
                "children": {group: {"hosts": {host.name: {} for host in each}} for group, each in groups.items()},
            }
        }

    def _groups(self) -> dict[str, Sequence[Host]]:
        settings = self._settings
        return {
            **{group: (settings.controller,) for group in CONTROLLER_GROUPS},
            **{group: settings.computes for group in COMPUTE_GROUPS},
        }

    def _nova_groups(self) -> dict[str, Sequence[Host]]:
        return {group: (self._settings.controller,) for group in NOVA_GROUPS}

    def install_done(self) -> bool:
        """Whether the virtual environment has this tree's Stella."""
        return self._is_current("install")

    def install(self) -> None:
        """The roles' installation, where packages can be had: on the machine itself."""
        packages.build_wheel(self._settings, REPOSITORY)
        alone = {group: (self._settings.controller,) for group in (*CONTROLLER_GROUPS, *COMPUTE_GROUPS)}
        self._playbook(["--tags", "install"], groups=alone, inside=False)
        self._remember("install")

    def done(self) -> bool:
        """Whether API, engine and agent run this tree's Stella."""
        return (
            self._is_current("deployed")
            and all(
                Services(Enclosure(self._settings, host)).pid(name) is not None
                for host, name in (
                    (self._settings.controller, "stella-api"),
                    (self._settings.controller, "stella-engine"),
                    *((host, "xgos") for host in self._settings.computes),
                )
            )
            and answers_http(self._settings.ports["stella"], "/healthcheck")
        )

    def deploy(self) -> None:
        """Everything else the roles do, in the laboratory."""
        self._playbook(["--skip-tags", "install"], groups=self._groups(), inside=True)
        self._remember("deployed")

    def nova_install_done(self) -> bool:
        """Whether Nova's environment has this tree's filter and weigher."""
        return self._is_current("nova install")

    def nova_install(self) -> None:
        """The installation of the role for Nova, on the machine itself."""
        packages.build_wheel(self._settings, REPOSITORY / "plugins" / "stella-nova")
        self._playbook(["--tags", "install"], groups=self._nova_groups(), inside=False)
        self._remember("nova install")

    def nova_done(self) -> bool:
        """Whether Nova's drop-ins are as the role would write them now."""
        return self._is_current("nova")

    def nova(self) -> None:
        """The rest of the role for Nova: its drop-ins, before Nova starts."""
        self._playbook(["--skip-tags", "install"], groups=self._nova_groups(), inside=True)
        self._remember("nova")
