"""Why something is refused or not in force: the API's sentence in English, and the codes from which a page says it in any language."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Part = tuple[str, Mapping[str, Any]]
"""A code, and the values that stand in its sentence."""


@dataclass(frozen=True, slots=True)
class Reason:
    """``text`` is the API's sentence; ``parts`` its sentences by code, the outermost first, empty where it told none."""

    text: str = ""
    parts: tuple[Part, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text)


NONE = Reason()


def of(text: str | None, why: Any) -> Reason:
    """What the API told: a sentence, and its ``why`` (an API of an earlier release has none)."""
    told = why if isinstance(why, list) else []
    parts = tuple((str(one["code"]), one["values"]) for one in told if isinstance(one, Mapping) and "values" in one)
    return Reason(text or "", parts)
