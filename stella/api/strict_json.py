"""JSON as the standard has it: no NaN, no number beyond a double, no key twice in an object, valid UTF-8."""

import json
import math
from collections.abc import Sequence
from typing import cast

from stella.model.wire import Json


class NotJson(ValueError):
    """The text is not strict JSON; the message is part of a sentence that begins with "the body"."""


def _refuse_constant(text: str) -> float:
    raise NotJson(f"holds {text}, which is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJson(f"holds the number {text[:40]}, which is too large")
    return number


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
        return cast(
            Json,
            json.loads(
                text,
                parse_constant=_refuse_constant,
                parse_float=_finite,
                parse_int=_whole,
                object_pairs_hook=_unique,
            ),
        )
    except NotJson:
        raise
    except UnicodeDecodeError:
        raise NotJson("is not UTF-8") from None
    except RecursionError:
        raise NotJson("is nested too deeply") from None
    except ValueError as error:
        raise NotJson(f"is not JSON: {error}") from None


def dump(value: Json) -> bytes:
    """Print JSON in one line of UTF-8."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def text(value: Json) -> str:
    """The same as text, sorted by key: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
