"""What a run showed: its musts, kept or short, as a table for people and as JSON under ``results/scale/``."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stella.bench.scale.timings import MILLISECONDS, Spread

COLUMNS = ("count", "p50_ms", "p95_ms", "p99_ms", "max_ms")
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Must:
    """One thing that the run must show. ``seen`` says what it showed."""

    text: str
    kept: bool
    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One command's result. ``settings``: what it ran with. ``facts``: what else must be known to read ``tables``."""

    command: str
    settings: Mapping[str, Any]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    musts: Sequence[Must]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether all musts are."""
        return all(must.kept for must in self.musts)


def milliseconds(seconds: float) -> float | None:
    """Rounded for people; None for what is not known."""
    return round(seconds * MILLISECONDS, 1) if math.isfinite(seconds) else None


def row(name: str, spread: Spread, **more: Any) -> dict[str, Any]:
    """One line of a table of durations."""
    values = (spread.p50_seconds, spread.p95_seconds, spread.p99_seconds, spread.max_seconds)
    return {
        "what": name,
        "count": spread.count,
        **dict(zip(COLUMNS[1:], map(milliseconds, values), strict=True)),
        **more,
    }


def machine() -> dict[str, Any]:
    """Where the run was made, and of which commit."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "commit": _commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": model,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": [round(one, 2) for one in os.getloadavg()],
    }


def _commit() -> str:
    def ask(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments],  # noqa: S607 (the repository's own tool)
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = ask("rev-parse", "--short=12", "HEAD")
    changed = ask("status", "--porcelain", "--untracked-files=no")
    return (f"{commit} with changes" if changed else commit) or "unknown"


def write(directory: Path, outcome: Outcome, found_machine: Mapping[str, Any]) -> Path:
    """Keep it as JSON and as text; the JSON's path."""
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        "command": outcome.command,
        "machine": dict(found_machine),
        "settings": dict(outcome.settings),
        "tables": {name: list(rows) for name, rows in outcome.tables.items()},
        "facts": dict(outcome.facts),
        "musts": [{"text": m.text, "kept": m.kept, "seen": m.seen} for m in outcome.musts],
    }
    path = directory / f"{outcome.command}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (directory / f"{outcome.command}.txt").write_text(show(document) + "\n")
    return path


def show(document: Mapping[str, Any]) -> str:
    """The result as text for a terminal."""
    at = document["machine"]
    lines = [
        f"stella-bench scale {document['command']}: "
        + ", ".join(f"{name} {value}" for name, value in document["settings"].items()),
        f"commit {at['commit']}, {at['time']}, {at['cpus']} x {at['cpu']}, load average before {at['load_average']}",
    ]
    for name, rows in document["tables"].items():
        lines += ["", f"{name}:", *_table(rows)]
    lines += ["", *(f"{name}: {value}" for name, value in document["facts"].items()), ""]
    lines += [f"{'kept ' if m['kept'] else 'SHORT'}  {m['text']}: {m['seen']}" for m in document["musts"]]
    return "\n".join(lines)


def cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Header and lines of a table; its columns are the keys of all rows, in order of appearance."""
    columns = list(dict.fromkeys(key for found in rows for key in found))
    return [columns, *([_cell(found.get(column)) for column in columns] for found in rows)]


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    shown = cells(rows)
    widths = [max(len(line[i]) for line in shown) for i in range(len(shown[0]))]
    return [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in shown
    ]
