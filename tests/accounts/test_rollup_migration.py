"""A database of before the new sums of the rollup gets them from its calls, and can go back."""

import contextlib
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.fakes.gateway_process import GatewayProcess
from tests.server.databases import postgres_database

pytestmark = pytest.mark.server

# Four calls of one day and model, as 0002 knew them; the rollup had a row for them without a currency of the reference.
ROWS = """
import datetime, uuid
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

apps = MigrationExecutor(connection).loader.project_state([("accounts", "0002_keys_raises_rates")]).apps
model = lambda name: apps.get_model("accounts", name)
user = model("User").objects.create(username="dev")
key = model("ApiKey").objects.create(user=user, name="laptop", prefix="wg_0", digest="0" * 64)
now = datetime.datetime(2026, 10, 5, 12, tzinfo=datetime.timezone.utc)

def call(outcomes, **fields):
    row = model("CallRecord").objects.create(
        id=uuid.uuid4(), key=key, user=user, started_at=now, settled_at=now, booked_on=now.date(),
        provider_name="main", model_name="big", **{"status": "ok", "input_tokens": 10, "cost": 1, "currency": "USD", **fields})
    for position, outcome in enumerate(outcomes):
        model("Attempt").objects.create(call=row, position=position, provider_name="main", model_name="big",
            outcome=outcome, started_at=now, duration_ms=1)

call(["ok"], reference_cost=5, reference_currency="USD")
call(["overloaded", "timeout", "ok"], reference_cost=7, reference_currency="CNY")
call(["overloaded", "timeout"], status="failed")
call(["ok"], cost=None, currency="")
model("CallRecord").objects.create(id=uuid.uuid4(), key=key, user=user, started_at=now, status="running")
day = dict(date=now.date(), key=key, user=user, provider_name="main", model_name="big", kind="main")
model("UsageDaily").objects.create(
    **day, currency="USD", calls=3, failed_calls=1, input_tokens=30, cost=3, reference_cost=12)
model("UsageDaily").objects.create(**day, currency="", calls=1, unpriced_calls=1, input_tokens=10)
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Iterator[GatewayProcess]:
    """A gateway that was never started, on a database without tables."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres_database("migration")) if request.param == "postgres" else ""
        gateway = GatewayProcess({}, database_url=url)
        stack.callback(gateway.stop)
        yield gateway


def test_the_sums_come_from_the_calls_and_go_again(database: GatewayProcess) -> None:
    database.manage("migrate", "--verbosity", "0", "accounts", "0002")
    database.manage("shell", "-c", ROWS)
    database.manage("migrate", "--verbosity", "0")
    assert database.query("SELECT fallbacks FROM accounts_callrecord ORDER BY fallbacks") == [(0,)] * 4 + [(2,)]
    units = 10**10
    sums = "calls, failed_calls, fallback_calls, cost, failed_cost, fallback_cost, reference_cost, compared_cost, uncached_cost"
    rows = database.query(f"SELECT currency, reference_currency, {sums} FROM accounts_usagedaily ORDER BY 1, 2")
    assert [(*row[:5], *(Decimal(amount) / units for amount in row[5:])) for row in rows] == [
        ("", "", 1, 0, 0, 0, 0, 0, 0, 0, 0),
        ("USD", "", 1, 1, 0, 1, 1, 0, 0, 0, 1),
        ("USD", "CNY", 1, 0, 1, 1, 0, 1, 7, 1, 1),
        ("USD", "USD", 1, 0, 0, 1, 0, 0, 5, 1, 1),
    ]
    database.manage("verify_ledger")
    database.manage("migrate", "--verbosity", "0", "accounts", "0002")
    rows = database.query("SELECT currency, calls, cost, reference_cost FROM accounts_usagedaily ORDER BY 1")
    assert rows == [("", 1, 0, 0), ("USD", 3, 3 * units, 12 * units)]
