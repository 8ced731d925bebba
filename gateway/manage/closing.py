"""After the calls: corrections, which are appended, and months that are closed."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from django.core.exceptions import ValidationError
from ninja import Query, Router, Schema
from pydantic import Field

from accounts import closing
from accounts.models import CallRecord, ClosedMonth, Correction
from gateway.config.rows import identity_of
from gateway.manage.auth import Caller
from gateway.manage.errors import ManageError, invalid, of_model
from gateway.manage.operations import Amount, Body, Text, operation
from gateway.manage.paging import Page, PageQuery, each, page_of
from gateway.manage.quotas import key_named
from gateway.manage.records import id_in
from gateway.manage.reports import Day

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


class CorrectionNew(Body):
    """A new correction, of a call, or of a key on a day."""

    call: Text | None = Field(None, description="The request id of a call.")
    key: Text | None = Field(None, description="Instead: the key, as username/name.")
    corrects_on: Day | None = Field(None, description="Of a key: the day that the amount belongs to; absent: today.")
    platform: Text = ""
    model: Text = ""
    cost: Amount = Field(Decimal(0), description="What is added; negative: what is taken off.", examples=["-1.25"])
    currency: Text = Field("", examples=["USD"])
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reason: Text = Field(min_length=1, examples=["Refund of the platform"])


class MonthToClose(Body):
    """Which month is to be closed."""

    month: str = Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", examples=["2026-10"])
    note: Annotated[str, Field(max_length=300)] = ""


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
    "POST",
    "corrections",
    "accounts.add_correction",
    summary="Append a correction",
    description=(
        "The call itself stays as it is. What belongs to a closed month is counted on a day of the open one. Nothing"
        " takes a correction back but another one."
    ),
    answer=CorrectionOut,
    status=201,
)
def add_correction(caller: Caller, data: CorrectionNew) -> CorrectionOut:
    if (data.call is None) == (data.key is None):
        raise invalid(call="name either a call or a key")
    tokens = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    amount = closing.Amount(data.cost, data.currency, **{name: getattr(data, name) for name in tokens})
    subject: dict[str, Any]
    if data.call is not None:
        pk = id_in(data.call)
        call = caller.in_charge_of(CallRecord.objects.all()).filter(pk=pk).first() if pk is not None else None
        if call is None:
            raise invalid(call=f"there is no call {data.call}")
        subject = {"call": call}
    else:
        key = key_named(caller, "key", data.key or "")
        subject = {"key": key, "corrects_on": data.corrects_on}
        subject |= {"provider_name": data.platform, "model_name": data.model}
    try:
        row = closing.correct(amount, data.reason, by=caller.user, **subject)
    except ValidationError as error:
        raise of_model(error, {"provider_name": "platform", "model_name": "model"}) from error
    return show(rows().get(pk=row.pk))


@operation(
    router,
    "POST",
    "closed-months",
    "accounts.add_closedmonth",
    summary="Close a month, for good",
    description="Refused (409) while the month is not over, a call of it is running, or its books do not agree.",
    answer=ClosedMonthOut,
    status=201,
    is_atomic=False,
)
def close_month(caller: Caller, data: MonthToClose) -> ClosedMonthOut:
    try:
        month = date.fromisoformat(f"{data.month}-01")
    except ValueError:
        raise invalid(month="must be a month like 2026-10") from None
    try:
        return show_month(closing.close_month(month, caller.user, data.note))
    except closing.MonthNotClosable as error:
        raise ManageError(409, str(error)) from error


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
