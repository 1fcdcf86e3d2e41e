"""figures.json: what has been found so far, so that rounds that are done are not done again.

::

    {"machine": {…}, "commit": "…", "command": "…", "repeat": 3,
     "families": {"<family>": {"parts": {"<part>": {"facts": {…}, "started": "…", "load_average": 0.1, "seconds": 93.0,
                                                    "planned_seconds": 90.0}},
                               "rows": [{…}]}}}

``facts`` has ``invalid`` alone when a round does not count, ``policies`` with the facts of each otherwise.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stella.bench.figures.row import Facts, Row
from stella.bench.results import write_results


class InvalidStore(ValueError):
    """The file cannot be read; one line for a person."""


class Store:
    """The document, and its file."""

    def __init__(self, path: Path) -> None:
        """Read the file, if there is one. Raises `InvalidStore`."""
        self._path = path
        self.document: dict[str, Any] = {"families": {}}
        try:
            if path.exists():
                self.document.update(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InvalidStore(f"{path}: {error}") from None
        if not isinstance(self.document["families"], dict):
            raise InvalidStore(f"{path}: families: must be a mapping")

    def _family(self, family: str) -> dict[str, Any]:
        found: dict[str, Any] = self.document["families"].setdefault(family, {"parts": {}, "rows": []})
        return found

    def parts(self, family: str) -> Mapping[str, Facts]:
        """The facts of a family's parts."""
        return {name: part["facts"] for name, part in self._family(family)["parts"].items()}

    def done(self, family: str, part: str) -> bool:
        """Whether a part has a round in which every policy has a valid run."""
        facts = self.parts(family).get(part)
        return (
            facts is not None and "invalid" not in facts and not any("invalid" in f for f in facts["policies"].values())
        )

    def forget(self, family: str) -> None:
        """Forget all runs of a family."""
        self.document["families"].pop(family, None)

    def keep(self, family: str, part: str, kept: Mapping[str, Any]) -> None:
        """Keep what a part found, and write the file."""
        self._family(family)["parts"][part] = dict(kept)
        self.write()

    def keep_rows(self, family: str, rows: list[Row]) -> None:
        """Keep a family's rows, and write the file."""
        self._family(family)["rows"] = [row.document() for row in rows]
        self.write()

    def write(self) -> None:
        """Write the file in one step."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_results(self._path, self.document)
