"""One page of a list in any order: by the key and then by what is unique, so that no item comes twice or is left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

SortKeys = Mapping[str, ColumnElement[Any] | InstrumentedAttribute[Any]]


class UnknownMarker(Exception):
    """The marker names nothing, so there is no place in the order to go on from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``limit`` items after ``marker`` (None: from the beginning), sorted by ``key``."""

    limit: int
    marker: str | int | None
    key: str
    descending: bool = False


def paged(
    session: Session,
    query: Select[Any],
    page: Page,
    *,
    keys: SortKeys,
    unique: InstrumentedAttribute[Any],
) -> Select[Any]:
    """``query`` for this page. ``keys`` are what may be sorted by and never null; ``unique`` is the column that markers name.

    Raises `UnknownMarker` where the place of the marker must be looked up.
    """
    column = keys[page.key]
    ordered = [column] if column is unique else [column, unique]
    query = query.order_by(*[c.desc() if page.descending else c.asc() for c in ordered]).limit(page.limit)
    if page.marker is None:
        return query
    beyond = unique < page.marker if page.descending else unique > page.marker
    if column is unique:
        return query.where(beyond)
    place = session.execute(select(column).where(unique == page.marker)).first()
    if place is None:
        raise UnknownMarker
    after = column < place[0] if page.descending else column > place[0]
    return query.where(or_(after, and_(column == place[0], beyond)))
