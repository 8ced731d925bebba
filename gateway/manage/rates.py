"""Exchange rates: list and append."""

from datetime import date, datetime
from typing import Annotated

from ninja import Query, Router, Schema
from pydantic import AfterValidator, Field, StringConstraints

from accounts.models import ExchangeRate
from gateway.manage.auth import Caller
from gateway.manage.operations import Amount, Body, Text, operation, within_reason
from gateway.manage.paging import Page, PageQuery, each, page_of
from gateway.manage.writing import save

router = Router(tags=["exchange rates"])
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class RateOut(Schema):
    """How much of `to` one unit of `from` is worth, from a day on."""

    id: int
    from_currency: str = Field(alias="from")
    to_currency: str = Field(alias="to")
    rate: Amount
    valid_from: date
    note: str
    created_at: datetime


class RateNew(Body):
    """A new rate."""

    from_currency: Currency = Field(alias="from", examples=["USD"])
    to_currency: Currency = Field(alias="to", examples=["CNY"])
    rate: Amount = Field(gt=0, examples=["7.1"])
    valid_from: Annotated[date, AfterValidator(within_reason)]
    note: Text = ""


class RateFilter(PageQuery):
    """Which rates."""

    from_currency: str = Field("", alias="from")
    to_currency: str = Field("", alias="to")


def _show(row: ExchangeRate) -> RateOut:
    return RateOut.model_validate(
        {
            "id": row.pk,
            "from": row.from_currency,
            "to": row.to_currency,
            "rate": row.rate,
            "valid_from": row.valid_from,
            "note": row.note,
            "created_at": row.created_at,
        }
    )


@operation(router, "GET", "", "accounts.view_exchangerate", summary="List the exchange rates", answer=Page[RateOut])
def list_rates(caller: Caller, query: Query[RateFilter]) -> Page[RateOut]:
    rows = ExchangeRate.objects.all()
    if query.from_currency:
        rows = rows.filter(from_currency=query.from_currency)
    if query.to_currency:
        rows = rows.filter(to_currency=query.to_currency)
    return page_of(rows, query, each(_show), newest_first=True)


@operation(
    router,
    "POST",
    "",
    "accounts.add_exchangerate",
    summary="Append an exchange rate",
    description="Amounts are converted at the rate in force on their day.",
    answer=RateOut,
    status=201,
)
def add_rate(caller: Caller, data: RateNew) -> RateOut:
    row = ExchangeRate()
    save(row, data.given(), {"from_currency": "from", "to_currency": "to"})
    return _show(row)
