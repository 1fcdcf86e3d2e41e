"""Periods: calendar months in a time zone, as the UTC instants between which they last. Days of a month may have 23 or 25 hours."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SETTLE_SECONDS = 8 * 86_400
"""So long after its end the sums of a period are stored, and it is final: hosts keep for 7 days what they could not report."""

ANNOUNCE_SECONDS = 7 * 86_400
"""An exclusion begins no longer ago than this, so that none reaches into a period that is final: there a correction is made."""

_NAME = re.compile(r"^(20[0-9]{2})-(0[1-9]|1[0-2])$")
_ZONE = re.compile(r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$")


class InvalidPeriod(ValueError):
    """A time zone or a period that there is not; the message is one line for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """``name`` is ``2026-11``; from ``start`` to before ``end``, Unix seconds."""

    name: str
    start: int
    end: int


def zone(name: str) -> tzinfo:
    """The time zone of this IANA name. Raises `InvalidPeriod`."""
    try:
        if not _ZONE.fullmatch(name) or len(name) > 64:
            raise ValueError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidPeriod(f"{name[:64]!r} is not a time zone, such as Asia/Seoul or Europe/Berlin") from None


def month(name: str, of: tzinfo) -> Period:
    """The month ``2026-11`` in this time zone. Raises `InvalidPeriod`."""
    found = _NAME.fullmatch(name)
    if not found:
        raise InvalidPeriod(f"{name[:40]!r} is not a month from 2000-01 to 2099-12, such as 2026-11")
    year, number = int(found[1]), int(found[2])
    return _month(year, number, of)


def _month(year: int, number: int, of: tzinfo) -> Period:
    following = (year + number // 12, number % 12 + 1)
    start, end = (int(datetime(*first, 1, tzinfo=of).timestamp()) for first in ((year, number), following))
    return Period(name=f"{year:04d}-{number:02d}", start=start, end=end)


def month_at(unix_seconds: float, of: tzinfo) -> Period:
    """The month in which this time is."""
    local = datetime.fromtimestamp(unix_seconds, of)
    return _month(local.year, local.month, of)


def day_at(unix_seconds: float, of: tzinfo) -> date:
    """The day there."""
    return datetime.fromtimestamp(unix_seconds, of).date()


def show_time(unix_seconds: int) -> str:
    """``2026-11-01T00:00:00Z``."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> int:
    """Unix seconds of what `show_time` printed. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("needs a time zone, such as Z")
    return int(moment.timestamp())
