"""figures.json: what has been found so far, so that runs that are done are not done again.

::

    {"machine": {…}, "command": "…", "repeat": 3, "analysis": {"<row>": "why it falls short, written by hand"},
     "families": {"<family>": {"parts": {"<part>": {"facts": {…}, "started": "…", "load_average": 0.1, "seconds": 93.0,
                                                    "attempts": 1, "discarded": ["why an attempt did not count"]}},
                               "rows": [{…}]}}}

``facts`` has ``invalid`` alone when no attempt counted. ``analysis`` is never written by the program.
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
        self.document: dict[str, Any] = {"analysis": {}, "families": {}}
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
        """Whether a part has a valid run."""
        facts = self.parts(family).get(part)
        return facts is not None and "invalid" not in facts

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
        """Write the file in one step; what is written by hand meanwhile into ``analysis`` stays."""
        try:
            by_hand = json.loads(self._path.read_text(encoding="utf-8")).get("analysis", {})
        except (OSError, ValueError):
            by_hand = {}
        self.document["analysis"] = {**self.document.get("analysis", {}), **by_hand}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_results(self._path, self.document)
