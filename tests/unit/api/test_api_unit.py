"""The systemd unit of stella-api: what `systemd-analyze` says of it (package `systemd`, installed by scripts/setup.sh)."""

import re
import subprocess
from pathlib import Path

import pytest

from stella import conf

UNITS = Path(__file__).parents[3] / "etc" / "systemd"
UNIT = UNITS / "stella-api.service"
LARGEST_EXPOSURE = 2.0


def _analyze(*words: str) -> str:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def _settings(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(key, []).append(value)
    return found


def test_it_exposes_little() -> None:
    text = _analyze("security", "--offline=true", "--no-pager", str(UNIT))
    level = re.search(r"Overall exposure level for stella-api\.service: ([0-9.]+)", text)
    assert level and float(level[1]) < LARGEST_EXPOSURE, text


def test_every_line_is_understood() -> None:
    complaints = [line for line in _analyze("verify", str(UNIT)).splitlines() if UNIT.name in line]
    assert not complaints


def test_systemd_waits_longer_than_a_request_may_take() -> None:
    config = conf.load([], logging=False)
    settings = _settings(UNIT)
    assert int(settings["TimeoutStopSec"][0]) > config.api.request_timeout_seconds
    assert int(settings["LimitNOFILE"][0]) > config.api.connections
    assert settings["KillMode"] == ["mixed"]


@pytest.mark.parametrize("name", ["stella-api", "stella-engine", "xgos"])
def test_each_service_is_started_again_for_as_long_as_it_takes(name: str) -> None:
    settings = _settings(UNITS / f"{name}.service")
    assert settings["StartLimitIntervalSec"] == ["0"]
    assert settings["Restart"][0] in ("always", "on-failure") and float(settings["RestartSec"][0]) >= 1
    assert settings["RestartPreventExitStatus"] == ["2"], "a wrong configuration stays wrong"
    assert settings["WantedBy"] == ["multi-user.target"]


@pytest.mark.parametrize("name", ["stella-api", "stella-engine", "xgos"])
def test_no_service_needs_another_of_the_machine_or_holds_a_secret(name: str) -> None:
    settings = _settings(UNITS / f"{name}.service")
    assert not {"Requires", "BindsTo", "Requisite", "PartOf"} & settings.keys()
    assert not {"Environment", "EnvironmentFile", "PassEnvironment"} & settings.keys()
    assert settings["NoNewPrivileges"] == ["yes"] and settings["ProtectSystem"] == ["strict"]
