"""Compiles the catalogues of translations into the wheel: Horizon reads compiled ones, and its hosts may lack gettext."""

import tempfile
from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CatalogueHook(BuildHookInterface):  # type: ignore[type-arg, misc]
    """Adds a ``.mo`` beside each ``.po`` of the wheel. The source tree stays as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the wheel is written."""
        self._directory = tempfile.TemporaryDirectory()
        root = Path(self.root)
        for source in sorted(root.glob("stella_dashboard/locale/*/LC_MESSAGES/*.po")):
            place = source.relative_to(root).with_suffix(".mo")
            compiled = Path(self._directory.name) / place
            compiled.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as read, compiled.open("wb") as written:
                write_mo(written, read_po(read))
            build_data["force_include"][str(compiled)] = str(place)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """After it is written."""
        self._directory.cleanup()
