"""Times as the API writes them: RFC 3339 in UTC. Inside they are Unix seconds."""

from datetime import UTC, datetime


def show(unix_seconds: float) -> str:
    """``2026-11-24T22:59:00Z``, with milliseconds where there are any."""
    moment = datetime.fromtimestamp(unix_seconds, UTC)
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond >= 1000 else "seconds")
    return text.replace("+00:00", "Z")


def show_known(unix_seconds: float | None) -> str | None:
    """The same, or None."""
    return None if unix_seconds is None else show(unix_seconds)


def parse(text: str) -> float:
    """Unix seconds of an RFC 3339 time. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("needs a time zone, such as Z")
    return moment.timestamp()


def day_start(unix_seconds: float) -> float:
    """The beginning of the day (UTC) that this time is in."""
    return unix_seconds - unix_seconds % 86_400


def month_start(unix_seconds: float) -> float:
    """The beginning of the month (UTC) that this time is in."""
    return (
        datetime.fromtimestamp(unix_seconds, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    )
