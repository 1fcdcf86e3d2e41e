"""The measured part of ``docs/scale.md``, written from the JSON of the last runs; what is outside its markers is written by hand."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stella.bench.scale.results import cells

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COMMANDS = ("link", "load", "admission", "packing", "sla")


class InvalidDocument(Exception):
    """The page or a result cannot be used; one line that names it."""


def write(page: Path, output: Path) -> Sequence[str]:
    """Put the results below ``output`` between the page's markers; returns whose results there are. Raises `InvalidDocument`."""
    found: dict[str, Mapping[str, Any]] = {}
    for command in COMMANDS:
        path = output / f"{command}.json"
        if path.exists():
            try:
                found[command] = json.loads(path.read_text())
            except ValueError as error:
                raise InvalidDocument(f"{path}: {error}") from None
    try:
        text = page.read_text()
    except OSError as error:
        raise InvalidDocument(f"{page}: {error.strerror}") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InvalidDocument(f"{page}: needs the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{measured(found)}\n{END}{after}")
    return tuple(found)


def measured(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The musts of all runs in one table, then each run with its figures."""
    lines = ["| figure | seen | |", "|---|---|---|"]
    for command, document in found.items():
        for must in document["musts"]:
            kept = "kept" if must["kept"] else "**short**"
            lines.append(f"| {command}: {_safe(must['text'])} | {_safe(must['seen'])} | {kept} |")
    for command, document in found.items():
        lines += ["", *_run(command, document)]
    return "\n".join(lines) + "\n"


def _run(command: str, document: Mapping[str, Any]) -> list[str]:
    at = document["machine"]
    settings = ", ".join(f"{name} {value}" for name, value in document["settings"].items())
    lines = [
        f"### `stella-bench scale {command}`",
        "",
        f"{settings}. Commit {at['commit']}, {at['time']}, {at['cpus']} x {at['cpu']}, Linux {at['kernel']},"
        f" load average before {at['load_average'][0]}.",
    ]
    for rows in document["tables"].values():
        header, *shown = cells(rows)
        lines += ["", _line(header), "|---|" + "---:|" * (len(header) - 1), *(_line(row) for row in shown)]
    lines += ["", *(f"- {name}: {_safe(str(value))}" for name, value in document["facts"].items())]
    return lines


def _line(row: Sequence[str]) -> str:
    return f"| {' | '.join(_safe(cell) for cell in row)} |"


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
