"""The CSV of a run read back."""

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A CSV by columns; cells are the text in the file."""

    columns: dict[str, list[str]]

    def numbers(self, name: str) -> list[float | None]:
        """A column of numbers, None where a cell is empty; empty when there is no such column."""
        return [float(cell) if cell else None for cell in self.columns.get(name, [])]

    def missed(self, name: str) -> list[bool]:
        """For a floor: where it was asked for and less than 95 % of what was guaranteed was got."""
        rows = zip(self.numbers(name), self.numbers(f"{name}.promised"), self.numbers(f"{name}.asked"), strict=True)
        return [
            bool(asked) and value is not None and got is not None and got < 0.95 * value for got, value, asked in rows
        ]

    @property
    def objectives(self) -> list[str]:
        """The names ``<instance>.<metric>`` that have an objective."""
        return [name.removesuffix(".promised") for name in self.columns if name.endswith(".promised")]

    @property
    def works(self) -> list[str]:
        """The columns of best-effort loads."""
        promised = self.objectives
        owned = {
            f"{name}{end}" for name in promised for end in ("", ".agent", ".status", ".cause", ".promised", ".asked")
        }
        return [n for n in self.columns if n != "time_seconds" and n not in owned and not n.startswith("cpu_cores")]

    @property
    def cpus(self) -> list[str]:
        """The instances whose CPU is told."""
        return [name.removeprefix("cpu_cores.") for name in self.columns if name.startswith("cpu_cores.")]


def read_table(path: Path) -> Table:
    """Read one CSV."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    header, body = rows[0], rows[1:]
    return Table(columns={name: [row[i] for row in body] for i, name in enumerate(header)})
