"""Pages of lists: from one row to the next, so that a page costs the same wherever it is and no row is missed."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from ninja import Schema
from pydantic import Field

from gateway.manage.errors import invalid

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
_T = TypeVar("_T")
_M = TypeVar("_M", bound=Model)


class Page(Schema, Generic[_T]):
    """A page of a list."""

    items: list[_T]
    next: str | None = Field(description="To be sent as `after` for the next page; null: this is the last one.")


class PageQuery(Schema):
    """Which page."""

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many at most.")
    after: str | None = Field(None, max_length=100, description="The `next` of the page before.")


def page_of(
    rows: "QuerySet[_M]", query: PageQuery, show: Callable[[list[_M]], Iterable[_T]], *, newest_first: bool = False
) -> Page[_T]:
    """Return a page of `rows` in the order of their numbers. Raises `ManageError` for an `after` that is none."""
    if query.after is not None:
        if not query.after.isascii() or not query.after.isdecimal() or len(query.after) > 18:
            raise invalid(after="is no `next` of a page")
        rows = rows.filter(**{"pk__lt" if newest_first else "pk__gt": int(query.after)})
    found = list(rows.order_by("-pk" if newest_first else "pk")[: query.limit + 1])
    has_more = len(found) > query.limit
    shown = found[: query.limit]
    return Page(items=list(show(shown)), next=str(shown[-1].pk) if has_more else None)


def moment_cursor(moment: datetime, pk: UUID) -> str:
    """Return the `next` of a list that is ordered by a moment."""
    # Without a +, which an address that is put together carelessly turns into a space.
    return f"{moment.astimezone(UTC).isoformat().removesuffix('+00:00')}Z_{pk.hex}"


def read_moment_cursor(text: str) -> tuple[datetime, UUID]:
    """Return the moment and the id of a `next`. Raises `ManageError`."""
    moment, _, pk = text.partition("_")
    try:
        found = datetime.fromisoformat(moment), UUID(hex=pk)
    except ValueError:
        raise invalid(after="is no `next` of a page") from None
    if found[0].tzinfo is None:
        raise invalid(after="is no `next` of a page")
    return found


def each(show: Callable[[Any], _T]) -> Callable[[list[Any]], list[_T]]:
    """Return `show`, which shows one row, for a list of them."""
    return lambda rows: [show(row) for row in rows]
