"""The systemd unit of stella-engine: what `systemd-analyze` says of it (package `systemd`, installed by scripts/setup.sh)."""

import re
import subprocess
from pathlib import Path

from stella.engine.service import STOP_SECONDS

UNIT = Path(__file__).parents[3] / "etc" / "systemd" / "stella-engine.service"
LARGEST_EXPOSURE = 2.0


def _analyze(*words: str) -> str:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def test_it_exposes_little() -> None:
    text = _analyze("security", "--offline=true", "--no-pager", str(UNIT))
    level = re.search(r"Overall exposure level for stella-engine\.service: ([0-9.]+)", text)
    assert level and float(level[1]) < LARGEST_EXPOSURE, text


def test_every_line_is_understood() -> None:
    complaints = [line for line in _analyze("verify", str(UNIT)).splitlines() if UNIT.name in line]
    assert not complaints


def test_systemd_waits_longer_than_the_engine_needs_to_end() -> None:
    found = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert found and int(found[1]) > STOP_SECONDS
