"""The numbers of finance: what was used and spent, by whom and on what, and what routing and caches saved."""

from accounts.reports.dimensions import DIMENSIONS, FILTERS, Dimension
from accounts.reports.period import BadQuery, Period, business_day
from accounts.reports.query import MAX_ROWS, Conversion, Query, Report, Row, run
from accounts.reports.totals import Totals

__all__ = [
    "DIMENSIONS",
    "FILTERS",
    "MAX_ROWS",
    "BadQuery",
    "Conversion",
    "Dimension",
    "Period",
    "Query",
    "Report",
    "Row",
    "Totals",
    "business_day",
    "run",
]
