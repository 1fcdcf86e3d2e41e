"""Lists in pages: ``limit``, ``marker``, ``sort``, and the link to the next page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlencode

from stella.api import times
from stella.api.errors import ApiError
from stella.api.operation import Call
from stella.db.paging import Page, UnknownMarker
from stella.model.wire import Json


def limit_of(call: Call) -> int:
    """How many to return: what was asked for, within what the configuration allows."""
    options = call.services.config.api
    asked = call.query.get("limit")
    default, largest = int(options.default_page), int(options.largest_page)
    return min(asked if isinstance(asked, int) else default, largest)


def text(call: Call, name: str) -> str | None:
    """A query parameter that is text."""
    value = call.query.get(name)
    return value if isinstance(value, str) else None


def number(call: Call, name: str) -> int | None:
    """A query parameter that is a whole number."""
    value = call.query.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def at(call: Call, *, default: str, marker: str | int | None) -> Page:
    """The page that is asked for. ``default`` is the order where none is, such as ``id:desc``."""
    key, _, direction = (text(call, "sort") or default).partition(":")
    return Page(limit=limit_of(call), marker=marker, key=key, descending=direction == "desc")


@contextmanager
def marked() -> Iterator[None]:
    """Raises `ApiError` (400) where the marker is that of nothing."""
    try:
        yield
    except UnknownMarker:
        raise ApiError("stella.request.invalid", "marker names nothing to go on from.", field="marker") from None


def moment(call: Call, name: str) -> float | None:
    """A query parameter that is a time, in Unix seconds. Raises `ApiError` (400)."""
    given = text(call, name)
    if given is None:
        return None
    try:
        return times.parse(given)
    except (ValueError, OverflowError) as error:
        raise ApiError("stella.request.invalid", f"{name} is not a time: {error}.", field=name) from None


def span(call: Call) -> tuple[float | None, float | None]:
    """``from`` and ``to``. Raises `ApiError` (400), also where they are the wrong way round."""
    start, end = moment(call, "from"), moment(call, "to")
    if start is not None and end is not None and start > end:
        raise ApiError("stella.request.invalid", "from is after to.", field="from")
    return start, end


def page(call: Call, name: str, items: Sequence[Json], last: str | int | None) -> dict[str, Json]:
    """The body of one page; ``last`` is the marker of its last item. A full page links to the next."""
    links: list[Json] = []
    if items and len(items) == limit_of(call) and last is not None:
        query = {k: str(v).lower() if isinstance(v, bool) else v for k, v in call.query.items()} | {"marker": last}
        links.append({"rel": "next", "href": f"{call.url}?{urlencode(query)}"})
    return {name: list(items), "links": links}
