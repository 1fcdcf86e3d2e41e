"""The result of checking one thing, and how the results of all are told: one line each, and the exit code of OpenStack's checks."""

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_SHOWN_NAMES = 5


class Code(enum.IntEnum):
    """How one check ended, and what a command exits with when that is the worst. `BROKEN`: the check itself could not be done."""

    SUCCESS = 0
    WARNING = 1
    FAILURE = 2
    BROKEN = 255

    @property
    def word(self) -> str:
        """For a person."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class Result:
    """One check: its name, how it ended, and what was found and what to do, without any secret."""

    name: str
    code: Code
    detail: str

    @property
    def line(self) -> str:
        """For a terminal: one line without control characters."""
        detail = "".join(each if each.isprintable() else "?" for each in " ".join(self.detail.split()))
        return f"{self.name}: {self.code.word}. {detail}"


def success(name: str, detail: str) -> Result:
    """Nothing to do."""
    return Result(name, Code.SUCCESS, detail)


def warning(name: str, detail: str) -> Result:
    """It works, but not all of it, or not for long."""
    return Result(name, Code.WARNING, detail)


def failure(name: str, detail: str) -> Result:
    """It does not work."""
    return Result(name, Code.FAILURE, detail)


def worst(results: Iterable[Result]) -> Code:
    """The exit code of all."""
    return max((result.code for result in results), default=Code.SUCCESS)


def lines(results: Iterable[Result]) -> Iterator[str]:
    """All of them for a terminal."""
    return (result.line for result in results)


def named(names: Sequence[str]) -> str:
    """The first few of many names."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(sorted(names)[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
