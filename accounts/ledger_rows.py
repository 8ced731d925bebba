"""What the ledger's statements are made of: the rows they read, column values on each database, cursors."""

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from django.db import connection

from accounts.ledger_items import Settlement
from accounts.models import Quota
from accounts.money import to_units

_FROM_FLOAT = Context(prec=15).create_decimal_from_float


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key with what admission needs of its owner and team."""

    id: int
    name: str
    is_active: bool
    expires_at: datetime | None
    revoked_at: datetime | None
    policy_id: int | None
    capture: str
    allowed_models: tuple[str, ...]
    max_concurrency: int | None
    user_id: int
    username: str
    user_is_active: bool
    user_policy_id: int | None
    team_id: int | None
    team_name: str
    team_policy_id: int | None
    allowed_networks: tuple[str, ...] = ()  # as `accounts.networks.clean_networks` writes them; none: from anywhere
    former_ends_at: datetime | None = None  # of a former secret, when it was that which was presented


@dataclass(frozen=True, slots=True)
class QuotaRow:
    """A quota that is in force."""

    id: int
    team_id: int | None
    user_id: int | None
    key_id: int | None
    unit: str
    window: str
    limit: Decimal  # as it is set
    currency: str
    action: str
    raised: Decimal = Decimal(0)  # by the temporary raises in force

    @property
    def limit_in_force(self) -> Decimal:
        """The limit with the temporary raises in force."""
        return self.limit + self.raised

    def covers(self, key_id: int, user_id: int, team_id: int | None) -> bool:
        """Return whether a call of this key counts against the quota."""
        return (
            self.key_id == key_id or self.user_id == user_id or (self.team_id is not None and self.team_id == team_id)
        )

    def subject_name(self, username: str, key_name: str, team_name: str) -> str:
        """Return the subject in words for the refused client."""
        if self.key_id is not None:
            return f"key {username}/{key_name}"
        return f"user {username}" if self.user_id is not None else f"team {team_name}"

    def in_words(self, username: str, key_name: str, team_name: str) -> str:
        """Return the quota as records name it, such as `user dev1: 10 USD / day`."""
        subject = self.subject_name(username, key_name, team_name)
        unit = self.currency if self.unit == Quota.Unit.COST else self.unit
        return f"{subject}: {self.limit_in_force.normalize():f} {unit} / {self.window}"


@dataclass(slots=True)
class WindowRow:
    """A locked quota window; changed in memory, written by `save_windows`."""

    id: int
    quota_id: int
    starts_at: datetime
    ends_at: datetime | None
    used: Decimal
    reserved: Decimal
    warned_percent: int = 0
    is_changed: bool = False

    def contains(self, moment: datetime) -> bool:
        """Return whether a call that starts at `moment` counts in the window."""
        return self.starts_at <= moment and (self.ends_at is None or moment < self.ends_at)


@dataclass(frozen=True, slots=True)
class RunningRow:
    """A call that is still running, locked."""

    id: uuid.UUID
    key_id: int
    user_id: int
    team_id: int | None
    kind: str
    reservation: dict[str, Any]
    started_at: datetime


@dataclass(slots=True)
class DayTotals:
    """What a batch adds to one row of `UsageDaily`; money in units of `accounts.money`."""

    calls: int = 0
    failed_calls: int = 0
    fallback_calls: int = 0
    unpriced_calls: int = 0
    estimated_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: int = 0
    failed_cost: int = 0
    fallback_cost: int = 0
    reference_cost: int = 0
    compared_cost: int = 0
    uncached_cost: int = 0

    def add(self, item: Settlement) -> None:
        """Count one settled call. One that used tokens of unknown price is unpriced."""
        # Each as its call's row holds it: the sum of rounded amounts, not the rounded sum.
        usage, cost = item.usage, 0 if item.cost is None else to_units(item.cost)
        is_failed, is_fallback = item.status in ("failed", "lost"), item.fallbacks > 0
        self.calls += 1
        self.failed_calls += is_failed
        self.fallback_calls += is_fallback
        used = usage.input_tokens or usage.output_tokens or usage.cache_read_tokens or usage.cache_write_tokens
        self.unpriced_calls += bool(used) and item.cost is None
        self.estimated_calls += usage.is_estimated
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cache_read_tokens += usage.cache_read_tokens
        self.cache_write_tokens += usage.cache_write_tokens
        self.cost += cost
        self.failed_cost += cost if is_failed else 0
        self.fallback_cost += cost if is_fallback else 0
        if item.compared_currency:
            self.reference_cost += to_units(item.reference_cost or Decimal(0))
            self.compared_cost += cost
        self.uncached_cost += cost if item.uncached_cost is None else to_units(item.uncached_cost)


def uuid_value(value: uuid.UUID | None) -> Any:
    """Return the parameter for a UUID column."""
    if value is None or connection.features.has_native_uuid_field:
        return value
    return value.hex


def read_uuid(value: Any) -> uuid.UUID:
    """Return the UUID in a column value."""
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def time_value(value: datetime | None) -> Any:
    """Return the parameter for a timestamp column."""
    return None if value is None else connection.ops.adapt_datetimefield_value(value)


def read_time(value: Any) -> datetime | None:
    """Return the aware timestamp in a column value; SQLite gives text or naive UTC."""
    if value is None:
        return None
    moment: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_date(value: Any) -> date:
    """Return the date in a column value; SQLite gives text."""
    return date.fromisoformat(value) if isinstance(value, str) else value


def day_after_month(value: Any) -> date | None:
    """Return the day after the month of a column value, which holds a day of it; None for NULL."""
    if value is None:
        return None
    return (read_date(value).replace(day=1) + timedelta(days=31)).replace(day=1)


def read_decimal(value: Any) -> Decimal:
    """Return the Decimal in a column value; SQLite gives a float of 15 digits."""
    return _FROM_FLOAT(value) if isinstance(value, float) else Decimal(value)


def read_json(value: Any) -> Any:
    """Return the document in a JSON column value."""
    return json.loads(value) if isinstance(value, str) else value


def lock() -> str:
    """Return the clause that locks the rows of a SELECT, where the database has one."""
    return " FOR UPDATE" if connection.features.has_select_for_update else ""


def marks(values: Collection[Any]) -> str:
    """Return a placeholder per value, for an IN list."""
    return ", ".join(["%s"] * len(values))


def query(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a SELECT."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def write(statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run a statement once per row of parameters."""
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)
