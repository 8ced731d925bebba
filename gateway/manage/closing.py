"""After the calls: corrections, which are appended, and months that are closed."""

from datetime import date, datetime
from typing import Any

from ninja import Query, Router, Schema
from pydantic import Field

from accounts.models import ClosedMonth, Correction
from gateway.config.rows import identity_of
from gateway.manage.auth import Caller
from gateway.manage.operations import Amount, operation
from gateway.manage.paging import Page, PageQuery, each, page_of

router = Router(tags=["books"])


class CorrectionOut(Schema):
    """An amount that was added to the books afterwards."""

    id: int
    call: str | None = Field(description="The request id of the call.")
    key: str
    user: str
    team: str | None
    platform: str
    model: str
    scene: str
    kind: str
    source: str = Field(description="manual or late_price.")
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost: Amount = Field(description="Negative: taken off.")
    currency: str
    reason: str
    corrects_on: date = Field(description="The day that the amount belongs to.")
    booked_on: date = Field(description="The day of an open month on which it is counted.")
    made_by: str | None
    created_at: datetime


class CorrectionFilter(PageQuery):
    """Which corrections."""

    user: str = ""
    team: str = ""
    booked_from: date | None = None
    booked_to: date | None = Field(None, description="Inclusive.")


class ClosedMonthOut(Schema):
    """A month whose books are closed."""

    month: str = Field(examples=["2026-10"])
    totals: dict[str, Any]
    note: str
    closed_by: str | None
    closed_at: datetime


def show(row: Correction) -> CorrectionOut:
    return CorrectionOut(
        id=row.pk,
        call=row.call.request_id if row.call else None,
        key=identity_of(row.key),
        user=row.user.username,
        team=row.team.name if row.team else None,
        platform=row.provider_name,
        model=row.model_name,
        scene=row.scene_name,
        kind=row.kind,
        source=row.source,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cache_read_tokens=row.cache_read_tokens,
        cache_write_tokens=row.cache_write_tokens,
        cost=row.cost,
        currency=row.currency,
        reason=row.reason,
        corrects_on=row.corrects_on,
        booked_on=row.booked_on,
        made_by=row.made_by.username if row.made_by else None,
        created_at=row.created_at,
    )


def rows() -> Any:
    return Correction.objects.select_related("call", "key__user", "user", "team", "made_by")


def show_month(row: ClosedMonth) -> ClosedMonthOut:
    return ClosedMonthOut(
        month=f"{row.month:%Y-%m}",
        totals=row.totals,
        note=row.note,
        closed_by=row.closed_by.username if row.closed_by else None,
        closed_at=row.closed_at,
    )


@operation(
    router,
    "GET",
    "corrections",
    "accounts.view_correction",
    summary="List the corrections, the newest first",
    answer=Page[CorrectionOut],
)
def list_corrections(caller: Caller, query: Query[CorrectionFilter]) -> Page[CorrectionOut]:
    found = caller.visible(rows())
    if query.user:
        found = found.filter(user__username=query.user)
    if query.team:
        found = found.filter(team__name=query.team)
    if query.booked_from is not None:
        found = found.filter(booked_on__gte=query.booked_from)
    if query.booked_to is not None:
        found = found.filter(booked_on__lte=query.booked_to)
    return page_of(found, query, each(show), newest_first=True)


@operation(
    router,
    "GET",
    "closed-months",
    "accounts.view_closedmonth",
    summary="List the closed months, the last one first",
    answer=Page[ClosedMonthOut],
)
def list_closed_months(caller: Caller, query: Query[PageQuery]) -> Page[ClosedMonthOut]:
    months = ClosedMonth.objects.select_related("closed_by")
    return page_of(months, query, each(show_month), newest_first=True)
