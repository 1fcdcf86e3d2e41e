"""JSON as the standard has it: no NaN, no number beyond a double, no key twice in an object, valid UTF-8, not nested without end."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

from stella.model.wire import Json

_LARGEST_WHOLE = 2**53
_LARGEST_DEPTH = 32


class NotJson(ValueError):
    """The text is not strict JSON; the message is part of a sentence that begins with "the body"."""


def _refuse_constant(text: str) -> float:
    raise NotJson(f"holds {text}, which is not a number")


def _number(text: str) -> float:
    """A number with a point or an exponent; a whole one is an int, so that 1.0 is as good as 1 where a whole number is wanted."""
    number = float(text)
    if not math.isfinite(number):
        raise NotJson(f"holds the number {text[:40]}, which is too large")
    return int(number) if number.is_integer() and abs(number) <= _LARGEST_WHOLE else number


def _whole(text: str) -> int:
    if len(text) > 40:
        raise NotJson("holds a number with more than 40 digits")
    return int(text)


def _unique(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise NotJson(f"holds the key {twice[:80]!r} twice in one object")
    return found


def parse(body: bytes) -> Json:
    """Read JSON. Raises `NotJson`."""
    try:
        text = body.decode("utf-8")
        found = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_number,
            parse_int=_whole,
            object_pairs_hook=_unique,
        )
    except NotJson:
        raise
    except UnicodeDecodeError:
        raise NotJson("is not UTF-8") from None
    except RecursionError:
        raise NotJson("is nested too deeply") from None
    except ValueError as error:
        raise NotJson(f"is not JSON: {error}") from None
    if "\\ud" in text.lower():
        _require_text(found)
    _require_flat(found)
    return cast(Json, found)


def _require_text(value: Json) -> None:
    """Raises `NotJson` for half of a surrogate pair, which JSON can name but UTF-8 and a database cannot hold."""
    try:
        dump(value)
    except UnicodeEncodeError:
        raise NotJson("holds half of a surrogate pair, which is no character") from None


def _require_flat(value: Json) -> None:
    """Raises `NotJson` for what is nested so deeply that those who read it back from the database could fail on it."""
    level: list[Any] = [value]
    for _ in range(_LARGEST_DEPTH + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise NotJson("is nested too deeply")


def _inside(value: Json) -> Iterable[Json]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def dump(value: Json) -> bytes:
    """Print JSON in one line of UTF-8."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def text(value: Json) -> str:
    """The same as text, sorted by key: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
