"""Any list of the API, page by page, forwards and backwards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.http import HttpRequest

from stella_dashboard.api import transport
from stella_dashboard.api.problems import PROBLEMS, Problem

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Items(Generic[Item]):
    """The items of one page, in order; whether there are more before and after them."""

    items: tuple[Item, ...] = ()
    has_previous: bool = False
    has_next: bool = False


def page(
    request: HttpRequest,
    path: str,
    of: Callable[[Mapping[str, Any]], Item],
    *,
    query: Mapping[str, str],
    sort: str,
    limit: int,
    after: str | None = None,
    before: str | None = None,
) -> Items[Item] | Problem:
    """Items after or before the one that ``after`` or ``before`` names, sorted by ``sort`` (``key`` or ``key:desc``). One request.

    ``of`` makes an item of what the API tells of it.
    """
    key, _, direction = sort.partition(":")
    is_descending = (direction == "desc") != bool(before)
    asked = {**query, "sort": f"{key}:desc" if is_descending else key, "limit": str(limit + 1)}
    if before or after:
        asked["marker"] = before or after or ""
    answer = transport.of(request).ask("GET", path, query=asked)
    if isinstance(answer, PROBLEMS):
        return answer
    found = tuple(of(one) for one in answer[path.rpartition("/")[2]])
    more, found = len(found) > limit, found[:limit]
    if before:
        return Items(items=found[::-1], has_previous=more, has_next=True)
    return Items(items=found, has_previous=bool(after), has_next=more)


def cut(
    found: Sequence[Item],
    name_of: Callable[[Item], str],
    *,
    limit: int,
    after: str | None = None,
    before: str | None = None,
) -> Items[Item]:
    """The same page of a list that the API tells as a whole. One that is not there any more leads to the first page."""
    places = {name_of(one): place for place, one in enumerate(found)}
    first = 0
    if after in places:
        first = places[after] + 1
    elif before in places:
        first = max(0, places[before] - limit)
    kept = tuple(found[first : first + limit])
    return Items(items=kept, has_previous=first > 0, has_next=first + limit < len(found))
