"""Budgets: what was used of each quota, and what the window will have used at its end if things go on like this."""

import zoneinfo
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import DecimalField, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts.models import ApiKey, Quota, QuotaRaise, QuotaWindow, Team, UsageDaily, User
from accounts.quota import bounds
from accounts.roles import sees_everything, visible
from routing.models import RuntimeSettings

# Of a window that has hardly begun, the first hour says little: until this share of it has passed, the pace is that of
# the window before it.
_JUST_BEGUN = Decimal("0.1")
# A quota without an end is reckoned by the pace of the last days, and not further than this.
_LATELY = timedelta(days=30)
_FARTHEST = timedelta(days=3650)
FORMER = 6
# How far back `FORMER` windows of a kind reach.
_REACH = {
    Quota.Window.FIVE_HOURS: timedelta(days=3),
    Quota.Window.DAY: timedelta(days=FORMER + 2),
    Quota.Window.WEEK: timedelta(weeks=FORMER + 2),
    Quota.Window.MONTH: timedelta(days=31 * (FORMER + 2)),
}


@dataclass(frozen=True, slots=True)
class Past:
    """A window that is over. Its limit is not kept; only what was used is."""

    starts_at: datetime
    ends_at: datetime
    used: Decimal


@dataclass(frozen=True, slots=True)
class Budget:
    """A quota and its window of now. Amounts are in the unit of the quota: its currency, tokens or requests.

    `forecast` is what is used at the end of the window at the pace so far, or, before a tenth of the window has
    passed, at the pace of the window before; None without an end or a pace. `runs_out_at` is when the limit is reached
    at that pace, None: not before the end. A quota without an end runs out at the pace of the last 30 days. A window
    of five hours that no call has opened has no start and no end.
    """

    quota: Quota
    subject: str
    used: Decimal
    reserved: Decimal
    limit: Decimal  # with the raises in force
    raised: Decimal
    starts_at: datetime | None
    ends_at: datetime | None
    forecast: Decimal | None
    runs_out_at: datetime | None
    former: tuple[Past, ...]  # the newest first

    @property
    def percent(self) -> Decimal:
        """How much of the limit is used; of a limit of nothing, all."""
        return _percent(self.used, self.limit)

    @property
    def forecast_percent(self) -> Decimal | None:
        """How much of the limit the window will have used at its end."""
        return None if self.forecast is None else _percent(self.forecast, self.limit)


def _percent(used: Decimal, limit: Decimal) -> Decimal:
    return (100 * used / limit).quantize(Decimal("0.1")) if limit else Decimal(100)


def budgets(viewer: User | None, now: datetime) -> list[Budget]:
    """Return the budgets that `viewer` may see (None: all), the fullest first. A fixed number of queries.

    Windows of a minute are rate limits, nothing that anybody budgets by.
    """
    zone = zoneinfo.ZoneInfo(RuntimeSettings.load().business_time_zone)
    quotas = list(_quotas(viewer, now))
    windows = _windows(quotas, now)
    lately = _used_lately(quotas, now.astimezone(zone).date())
    found = [_budget(quota, windows.get(quota.pk, ()), lately.get(quota.pk), now, zone) for quota in quotas]
    return sorted(found, key=lambda budget: (-budget.percent, budget.quota.pk))


def _quotas(viewer: User | None, now: datetime) -> QuerySet[Any]:
    raises = QuotaRaise.objects.filter(quota=OuterRef("pk"), starts_at__lte=now, ends_at__gt=now)
    added = raises.order_by().values("quota").annotate(sum=Sum("amount")).values("sum")
    amount = DecimalField(max_digits=20, decimal_places=6)
    rows = Quota.objects.filter(is_active=True).exclude(window=Quota.Window.MINUTE)
    if viewer is not None and not sees_everything(viewer):
        rows = rows.filter(
            Q(team__in=visible(Team.objects.all(), viewer))
            | Q(user__in=visible(User.objects.all(), viewer))
            | Q(key__in=visible(ApiKey.objects.all(), viewer))
        )
    rows = rows.select_related("team", "user", "key__user")
    return rows.annotate(raised=Coalesce(Subquery(added, output_field=amount), Decimal(0), output_field=amount))


def _windows(quotas: Sequence[Quota], now: datetime) -> dict[int, list[QuotaWindow]]:
    """Return the last windows of each quota, the newest first. One query."""
    lately = Q(quota__window=Quota.Window.TOTAL)
    for window, reach in _REACH.items():
        lately |= Q(quota__window=window, starts_at__gte=now - reach)
    rows = QuotaWindow.objects.filter(lately, quota__is_active=True, starts_at__lte=now)
    wanted = {quota.pk for quota in quotas}
    found: dict[int, list[QuotaWindow]] = defaultdict(list)
    for row in rows.order_by("-starts_at", "-pk"):
        if row.quota_id in wanted:
            found[row.quota_id].append(row)
    return found


def _used_lately(quotas: Sequence[Quota], today: date) -> dict[int, Decimal]:
    """Return what was used of each quota without an end in the last days. One query, none without such quotas."""
    endless = [quota for quota in quotas if quota.window == Quota.Window.TOTAL]
    if not endless:
        return {}
    columns = ("team_id", "user_id", "key_id")
    subjects = Q()
    for column in columns:
        subjects |= Q(
            **{f"{column}__in": {value for quota in endless if (value := getattr(quota, column)) is not None}}
        )
    tokens = F("input_tokens") + F("output_tokens") + F("cache_read_tokens") + F("cache_write_tokens")
    days = UsageDaily.objects.filter(subjects, date__gt=today - _LATELY, date__lte=today)
    rows = days.values(*columns, "currency").order_by()
    used: dict[tuple[str, int, str], Decimal] = defaultdict(Decimal)
    for row in rows.annotate(
        in_cost=Sum("cost"), in_tokens=Sum(tokens), in_requests=Sum(F("calls") - F("failed_calls"))
    ):
        for column in columns:
            used[column, row[column], row["currency"]] += row["in_cost"]
            used[column, row[column], Quota.Unit.TOKENS] += row["in_tokens"]
            used[column, row[column], Quota.Unit.REQUESTS] += row["in_requests"]
    found = {}
    for quota in endless:
        what = quota.currency if quota.unit == Quota.Unit.COST else quota.unit
        found[quota.pk] = sum(
            (used[column, getattr(quota, column), what] for column in columns if getattr(quota, column) is not None),
            Decimal(0),
        )
    return found


def _budget(
    quota: Any, windows: Sequence[QuotaWindow], lately: Decimal | None, now: datetime, zone: zoneinfo.ZoneInfo
) -> Budget:
    is_open = bool(windows) and (windows[0].ends_at is None or windows[0].ends_at > now)
    current = windows[0] if is_open else None
    former = tuple(
        Past(window.starts_at, window.ends_at, window.used)
        for window in windows[1 if is_open else 0 :]
        if window.ends_at is not None
    )[:FORMER]
    starts_at: datetime | None
    if current is not None:
        starts_at, ends_at = current.starts_at, current.ends_at
    elif quota.window == Quota.Window.FIVE_HOURS:
        starts_at, ends_at = None, None
    else:
        starts_at, ends_at = bounds(quota.window, now, zone)
    used = current.used if current is not None else Decimal(0)
    limit = quota.limit + quota.raised
    pace = _pace(used, starts_at, ends_at, former, now) if lately is None else lately / _seconds(now - _LATELY, now)
    forecast, runs_out_at = _forecast(used, limit, pace, ends_at, now)
    return Budget(
        quota,
        quota.subject_name(),
        used,
        current.reserved if current is not None else Decimal(0),
        limit,
        quota.raised,
        # The one window of a total begins before all calls, in 1970, which is nothing to show.
        None if quota.window == Quota.Window.TOTAL else starts_at,
        ends_at,
        None
        if forecast is None
        else forecast.quantize(Decimal("0.01") if quota.unit == Quota.Unit.COST else Decimal(1)),
        runs_out_at,
        former,
    )


def _seconds(start: datetime, end: datetime) -> Decimal:
    return Decimal((end - start) // timedelta(seconds=1))


def _pace(
    used: Decimal, starts_at: datetime | None, ends_at: datetime | None, former: Sequence[Past], now: datetime
) -> Decimal | None:
    """Return the use per second to reckon with; None: nothing to go by."""
    if starts_at is None or ends_at is None:
        return None
    whole, passed = _seconds(starts_at, ends_at), _seconds(starts_at, now)
    if passed < whole * _JUST_BEGUN and former:
        length = _seconds(former[0].starts_at, former[0].ends_at)
        return former[0].used / length if length else None
    return used / passed if passed > 0 else None


def _forecast(
    used: Decimal, limit: Decimal, pace: Decimal | None, ends_at: datetime | None, now: datetime
) -> tuple[Decimal | None, datetime | None]:
    """Return what is used at the end, and when the limit is reached if that is before the end."""
    end = ends_at or now + _FARTHEST
    forecast = None if pace is None else used + pace * _seconds(now, end)
    runs_out_at = None
    if used >= limit:
        runs_out_at = now
    elif forecast is not None and pace is not None and pace > 0 and forecast >= limit:
        runs_out_at = min(now + timedelta(seconds=float((limit - used) / pace)), end)
    return (None if ends_at is None else forecast), runs_out_at
