"""Lists in pages: ``limit``, ``marker``, and the link to the next page."""

from collections.abc import Sequence
from urllib.parse import urlencode

from stella.api.operation import Call
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


def page(call: Call, name: str, items: Sequence[Json], last: str | int | None) -> dict[str, Json]:
    """The body of one page; ``last`` is the marker of its last item. A full page links to the next."""
    links: list[Json] = []
    if items and len(items) == limit_of(call) and last is not None:
        query = {k: str(v).lower() if isinstance(v, bool) else v for k, v in call.query.items()} | {"marker": last}
        links.append({"rel": "next", "href": f"{call.url}?{urlencode(query)}"})
    return {name: list(items), "links": links}
