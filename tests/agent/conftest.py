"""Running the real program on recorded hosts."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HOSTS = Path(__file__).parents[1] / "fixtures" / "hosts"
REPOSITORY = Path(__file__).parents[2]


def xgos(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """``xgos WORDS...`` to its end."""
    argv = [sys.executable, "-m", "stella.cmd.xgos", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY)


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration whose files all lie in ``tmp_path``; returns its path."""

    def write(**keys: object) -> Path:
        here: dict[str, object] = {
            "mode": "enforce",
            "state_directory": str(tmp_path / "state"),
            "run_directory": str(tmp_path / "run"),
            "socket": str(tmp_path / "run" / "s"),
            "metrics_listen": "",
        }
        path = tmp_path / "xgos.toml"
        path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in {**here, **keys}.items()))
        return path

    return write
