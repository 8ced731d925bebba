"""What finance settles before a month is closed, though nothing stands against closing it."""

from datetime import date

from django.utils.translation import gettext, ngettext

from accounts.reports import Period, Query, run


def open_points(month: date) -> list[str]:
    """Return, in words, what the books of the month of `month` leave open: calls without a price, missing rates."""
    report = run(Query(Period.month(month)))
    found = []
    if count := report.total.unpriced_calls:
        text = ngettext(
            "%(count)d call has no price. Priced later than the month is closed, it is a correction of the open month.",
            "%(count)d calls have no price. Priced later than the month is closed, they are corrections of the open"
            " month.",
            count,
        )
        found.append(text % {"count": count})
    if report.missing_rates:
        text = gettext("There is no exchange rate for %(currencies)s: these amounts are in no converted sum.")
        found.append(text % {"currencies": ", ".join(sorted(report.missing_rates))})
    return found
