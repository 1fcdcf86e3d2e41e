"""What is installed on the machine: distribution packages, and virtual environments below `.venv-openstack`."""

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from laboratory.settings import REPOSITORY, LaboratoryError, Settings

DISTRIBUTION = (
    *("mariadb-server", "rabbitmq-server", "memcached", "openvswitch-switch"),
    *("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-daemon-system", "libvirt-clients", "python3-libvirt"),
    *("qemu-system-x86", "qemu-utils", "python3-venv"),
    *(
        "iproute2",
        "iptables",
        "ipset",
        "ebtables",
        "conntrack",
        "dnsmasq-base",
        "dnsmasq-utils",
        "iputils-arping",
        "util-linux",
        "ethtool",
    ),
)
FOR_SEVERAL_HOSTS = ("gcc", "libc6-dev")
"""They compile `shared_storage_library`."""

HERE = Path(__file__).parent
PYTHON = "/usr/bin/python3"  # the distribution's, which its libvirt binding is for
_POLICY = Path("/usr/sbin/policy-rc.d")


def _run(*argv: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=REPOSITORY, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise LaboratoryError(f"{' '.join(argv[:4])}: {' '.join((done.stderr or done.stdout).split())[-400:]}")
    return done.stdout


def _missing(settings: Settings) -> list[str]:
    wanted = (*DISTRIBUTION, *(FOR_SEVERAL_HOSTS if settings.host_cpus else ()))
    command = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    installed = {words[0] for words in map(str.split, text.splitlines()) if words[1:] == ["installed"]}
    return [name for name in wanted if name not in installed]


def distribution_done(settings: Settings) -> bool:
    """Whether every package is installed."""
    return not _missing(settings)


def distribution(settings: Settings) -> None:
    """Install what is missing; no service of these packages starts on the machine."""
    made = not _POLICY.exists()
    if made:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        _run("apt-get", "update", "-qq")
        _run(
            *("apt-get", "install", "-y", "-qq", "--no-install-recommends", *_missing(settings)),
            environment={"DEBIAN_FRONTEND": "noninteractive"},
        )
    finally:
        if made:
            _POLICY.unlink(missing_ok=True)


def shared_storage_library(settings: Settings) -> Path:
    """What lets libvirtd see the instances' directory as the network file system that it stands for; compiled where it is not there.

    Raises `LaboratoryError`.
    """
    source = HERE / "shared_storage.c"
    library = settings.data / f"shared_storage-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        made = library.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        _run("/usr/bin/gcc", "-shared", "-fPIC", "-O2", "-o", str(made), str(source), "-ldl")
        made.replace(library)
    return library


def build_wheel(settings: Settings, source: Path) -> None:
    """The wheel of a project of this repository, into `wheels` beside the environments."""
    uv, wheels = settings.program("uv", "tools"), settings.environments / "wheels"
    _run(
        *(uv, "build", "--quiet", "--wheel", "--out-dir", str(wheels), str(source)),
        environment={"UV_CACHE_DIR": str(settings.environments / "cache")},
    )


def install(settings: Settings, name: str, wheels: Sequence[Path]) -> None:
    """These wheels into an environment that has all that they depend on; one that is there already is replaced."""
    _run(
        *(
            settings.program("uv", "tools"),
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--reinstall",
            "--compile-bytecode",
        ),
        *("--python", settings.program("python", name), *map(str, wheels)),
        environment={"UV_CACHE_DIR": str(settings.environments / "cache")},
    )


class Environments:
    """One virtual environment for each of: tools, services, horizon."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.environments
        self._uv = str(self._directory / "tools" / "bin" / "uv")

    def _requirements(self, name: str) -> Path:
        return HERE / f"requirements-{name}.txt"

    def _digest(self, name: str) -> str:
        return hashlib.sha256(self._requirements(name).read_bytes()).hexdigest()

    def done(self, name: str) -> bool:
        """Whether it was made from the requirements as they are now."""
        stamp = self._directory / name / "requirements.digest"
        return stamp.exists() and stamp.read_text() == self._digest(name)

    def make(self, name: str) -> None:
        """Make it anew."""
        directory = self._directory / name
        shutil.rmtree(directory, ignore_errors=True)
        if name == "tools":
            _run(PYTHON, "-m", "venv", str(directory))
            _run(str(directory / "bin" / "pip"), "install", "-q", "-r", str(self._requirements(name)))
        else:
            _run(self._uv, "venv", "-q", "--python", PYTHON, str(directory))
            self._install(directory, name)
            if name == "services":
                self._link_libvirt(directory)
        (directory / "requirements.digest").write_text(self._digest(name))

    def _install(self, directory: Path, name: str) -> None:
        into = ["--python", str(directory / "bin" / "python"), "-r", str(self._requirements(name))]
        # A cache on the same disk: files that two environments share are stored once.
        _run(
            *(self._uv, "pip", "install", "-q", "--compile-bytecode", *into),
            environment={"UV_CACHE_DIR": str(self._directory / "cache")},
        )

    @staticmethod
    def _link_libvirt(directory: Path) -> None:
        """PyPI has no wheels of libvirt's binding, which must fit the machine's libvirt: take the distribution's."""
        packages = next((directory / "lib").glob("python3*/site-packages"))
        for path in Path("/usr/lib/python3/dist-packages").glob("libvirt*"):
            if path.suffix != ".egg-info":
                (packages / path.name).symlink_to(path)
