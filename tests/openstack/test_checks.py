"""`stella-status upgrade check` on the controller and `xgos check` on the compute host of the real cloud: all is well."""

import os
import subprocess
import sys

from .conftest import REPOSITORY, RUN, eventually

PROGRAMS = REPOSITORY / ".venv-openstack" / "stella" / "bin"
ETC = RUN / "openstack" / "etc"


def inside(*words: str) -> dict[str, str]:
    """The lines of a check that is run where the services run, by name."""
    argv = [sys.executable, "-m", "laboratory", "enter", *words]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "deploy")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180, env=environment)
    assert done.returncode in (0, 1, 2), done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def wrong(lines: dict[str, str], *but: str) -> dict[str, str]:
    return {name: text for name, text in lines.items() if not text.startswith("Success.") and name not in but}


def test_the_cloud_is_as_stella_needs_it() -> None:
    words = (str(PROGRAMS / "stella-status"), "--config-file", str(ETC / "stella" / "stella.conf"), "upgrade", "check")
    # On a busy machine a report may be late, which looks like a wrong clock; it passes.
    lines = eventually(
        lambda: inside(*words, "--nova-conf", str(ETC / "nova" / "nova.conf")), lambda found: not wrong(found)
    )
    assert {"Keystone", "Nova", "Placement", "Nova's filter", "Notifications", "Message queue"} <= lines.keys()
    without = inside(*words)
    assert wrong(without, "Clocks").keys() == {"Nova's filter", "Nova's weigher", "Notifications"}


def test_the_compute_host_is_as_the_agent_needs_it() -> None:
    words = (str(PROGRAMS / "xgos"), "check", "--config", str(ETC / "stella" / "xgos.toml"))
    words += ("--nova-conf", str(ETC / "nova" / "nova-compute.conf"))
    # Without an instance that runs, nothing is known of taps.
    lines = eventually(lambda: inside(*words), lambda found: not wrong(found, "Taps"))
    assert "UNKNOWN" not in lines["Taps"] and "compute1" in lines["Nova's host name"]
