"""Writing the section `exchange_rates`. A rate that is in use stays as it is; another day gets another rate."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from accounts.models import ExchangeRate
from gateway.config.rows import Run
from gateway.config.schema import Item
from gateway.config.shapes import RATE, columns
from routing.models import RuntimeSettings

RATE_COLUMNS = columns(RATE)


def write_rates(run: Run, items: list[Item]) -> None:
    """Add the rates that are not there. Those of days to come may still be changed."""
    if not items:
        return
    today = datetime.now(ZoneInfo(RuntimeSettings.load().business_time_zone)).date()
    for item in items:
        if item.is_broken:
            run.refuse(item)
            continue
        row: ExchangeRate = run.rows["exchange rate"].get(item.identity) or ExchangeRate()
        values = run.plain_values(item, row, RATE_COLUMNS)
        if not row._state.adding and row.valid_from <= today and row.rate != values["rate"]:
            run.refuse(item, ("rate", _("is in use and stays as it is; add a rate that is valid from a later day")))
            continue
        run.write(item, row, values, RATE_COLUMNS)


def exported_rates() -> list[dict[str, Any]]:
    """Return the rates as a file states them."""
    entries = []
    for row in ExchangeRate.objects.all():
        entry: dict[str, Any] = {field: getattr(row, column) for field, column in RATE_COLUMNS.items()}
        if not entry["note"]:
            del entry["note"]
        entries.append(entry | {"valid_from": row.valid_from.isoformat()})
    return entries
