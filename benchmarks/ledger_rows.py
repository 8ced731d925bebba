"""Fill an empty PostgreSQL database with the books of a large office: people, keys, and a year of calls.

    createdb ledger
    export DEBUG=1 DATABASE_URL=postgres://USER@127.0.0.1:5432/ledger
    python manage.py migrate
    python -m benchmarks.ledger_rows --calls 5000000        # about ten minutes on two cores, 4 GB
    python -m benchmarks.finance                            # how long the pages of finance take on it

The rows have the make-up of real ones: office hours, people of whom half work on a day and a few a lot, sessions that
stay in their scene, prompts that are mostly read from the cache, failures, fallbacks, estimates and unpriced calls.
Calls that failed or fell back have their attempts; the first month is closed, and one of its calls is corrected in the
month that is open. Deterministic by seed and last day. Refuses a database that holds calls.
"""

import argparse
import os
import time
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connection, transaction

from accounts.closing import Amount, correct
from accounts.models import ApiKey, CallRecord, ExchangeRate, Quota, Team, User
from providers.config_version import bump
from providers.models import Model, Provider
from routing.models import RuntimeSettings

ZONE = "Asia/Shanghai"
DAYS = 365
TEAMS, USERS, AT_WORK = 40, 1000, 500
BATCH = 500_000
SCENES = ("chat", "code", "refactor", "docs", "")
KINDS = ("main", "tool_result", "subagent", "title", "count")
# Provider, model, currency, and prices per million tokens: input, output, cache read, cache write. No price: unpriced.
MODELS: tuple[tuple[str, str, str, tuple[str, str, str, str] | None], ...] = (
    ("dashscope", "qwen3-coder-plus", "CNY", ("4", "16", "0.4", "5")),
    ("dashscope", "qwen-flash", "CNY", ("0.15", "1.5", "0.03", "0.19")),
    ("siliconflow", "deepseek-v3.2", "CNY", ("2", "3", "0.2", "2")),
    ("anthropic", "claude-sonnet-4-5", "USD", ("3", "15", "0.3", "3.75")),
    ("anthropic", "claude-haiku-4-5", "USD", ("1", "5", "0.1", "1.25")),
    ("openrouter", "gpt-5.1", "USD", ("1.25", "10", "0.125", "1.25")),
    ("local", "qwen3-8b", "CNY", ("0", "0", "0", "0")),
    ("openrouter", "preview-model", "", None),
)
REFERENCE = ("USD", ("5", "25", "0.5", "6.25"))

# The n-th call. `random()` once per row and column: a sub-select that names the row is not evaluated once for all.
_CALLS = """
INSERT INTO accounts_callrecord (
    id, key_id, user_id, team_id, worker_id, requested_model, kind, wire_format, streamed, session_id, agent_id,
    user_agent, request_bytes, dropped_fields, policy_name, route_name, scene_name, provider_name, model_name, decision,
    status, http_status, error_kind, error_message, stop_reason, upstream_request_id, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, thinking_tokens, usage_is_estimated, cost, currency,
    cost_source, reference_cost, reference_currency, uncached_cost, fallbacks, reservation, started_at, settled_at,
    booked_on, ttft_ms, duration_ms)
SELECT
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid,
    k.key_id, k.user_id, k.team_id, NULL, 'claude-sonnet-4-5', kind, 'anthropic', true,
    session, CASE WHEN kind = 'subagent' THEN 'agent-' || session ELSE '' END,
    'claude-cli/2.1.330 (external, cli)', input + cache_read, '[]', 'smart',
    CASE scene WHEN '' THEN '' ELSE 'everyday' END, scene, m.provider, m.model, '{"why": "scene"}',
    status, CASE status WHEN 'ok' THEN 200 WHEN 'cancelled' THEN 499 ELSE 502 END,
    CASE status WHEN 'failed' THEN 'overloaded' WHEN 'lost' THEN 'worker_lost'
        WHEN 'cancelled' THEN 'client_closed' ELSE '' END,
    '', CASE status WHEN 'ok' THEN 'end_turn' ELSE '' END, '', input, output, cache_read, cache_write, 0, 0,
    status = 'lost',
    CASE WHEN priced THEN (input * p[1] + output * p[2] + cache_read * p[3] + cache_write * p[4]) END,
    CASE WHEN priced THEN m.currency ELSE '' END, CASE WHEN priced THEN 'price' ELSE '' END,
    CASE WHEN used THEN input * r[1] + output * r[2] + cache_read * r[3] + cache_write * r[4] END,
    CASE WHEN used THEN %(reference_currency)s ELSE '' END,
    CASE WHEN priced THEN (input + cache_read + cache_write) * p[1] + output * p[2] END,
    CASE WHEN status <> 'failed' AND chance < 0.03 THEN 1 ELSE 0 END, '{}',
    at, at + duration * interval '1 ms', (at AT TIME ZONE %(zone)s)::date,
    CASE status WHEN 'failed' THEN NULL ELSE duration / 4 END, duration
FROM (
    SELECT n, random() AS chance, random() AS weight, random() AS model_weight, random() AS size,
        (300 + 20000 * random() * random())::int AS duration,
        ((%(first_day)s::date + (n * %(days)s::bigint / %(calls)s)::int) + interval '8 hours'
            + (random() + random()) * interval '6 hours') AT TIME ZONE %(zone)s AS at
    FROM generate_series(%(begin)s::bigint, %(end)s::bigint) AS n
) AS drawn
CROSS JOIN LATERAL (
    SELECT
        -- Of the keys, %(at_work)s are at work on a day, some of them much more than others.
        1 + abs(hashtext(at::date || '/' || floor(%(at_work)s * weight * weight))) %% %(keys)s AS key_number,
        CASE WHEN chance < 0.02 THEN 'failed' WHEN chance > 0.998 THEN 'lost' WHEN chance > 0.985 THEN 'cancelled'
            ELSE 'ok' END AS status,
        (%(kinds)s::text[])[1 + floor(5 * size * size)::int] AS kind
) AS what
JOIN ledger_rows_keys AS k ON k.number = key_number
CROSS JOIN LATERAL (
    SELECT 'session-' || k.key_id || '-' || at::date || '-' || floor(4 * model_weight) AS session
) AS conversation
CROSS JOIN LATERAL (SELECT (%(scenes)s::text[])[1 + abs(hashtext(session)) %% 5] AS scene) AS intent
JOIN ledger_rows_models AS m
    ON m.number = CASE kind WHEN 'title' THEN 2 ELSE 1 + abs(hashtext(scene || k.team_id %% 4)) %% %(models)s END
CROSS JOIN LATERAL (
    SELECT
        CASE status WHEN 'failed' THEN 0 ELSE (200 + 3000 * size)::bigint END AS input,
        CASE status WHEN 'failed' THEN 0 ELSE (20 + 900 * size * weight)::bigint END AS output,
        CASE status WHEN 'failed' THEN 0 ELSE (60000 * size)::bigint END AS cache_read,
        CASE status WHEN 'failed' THEN 0 ELSE (2000 * weight)::bigint END AS cache_write,
        status <> 'failed' AS used, status <> 'failed' AND m.currency <> '' AS priced,
        m.prices AS p, %(reference)s::bigint[] AS r
) AS tokens
"""


# The tries of calls that failed, and of those that another target answered: the last of each.
_ATTEMPTS = """
INSERT INTO accounts_attempt
    (call_id, position, provider_name, credential_name, model_name, outcome, http_status, message, started_at,
    duration_ms)
SELECT c.id, tried.position, CASE tried.is_last WHEN true THEN c.provider_name ELSE 'backup' END, 'default',
    c.model_name, CASE WHEN tried.is_last AND c.status <> 'failed' THEN 'ok' ELSE 'overloaded' END,
    CASE WHEN tried.is_last AND c.status <> 'failed' THEN 200 ELSE 529 END, '', c.started_at, 200
FROM accounts_callrecord c
CROSS JOIN LATERAL (
    SELECT position, position = c.fallbacks AS is_last FROM generate_series(0, c.fallbacks) AS position
) AS tried
WHERE c.status IN ('failed', 'cancelled', 'lost') OR c.fallbacks > 0 OR c.usage_is_estimated
ORDER BY c.started_at, tried.position
"""


def _units(prices: tuple[str, ...] | None) -> list[int]:
    """Return prices per million tokens as ten-billionths per token."""
    return [int(Decimal(price) * 10_000) for price in prices or ("0", "0", "0", "0")]


def _people(generous: Decimal) -> None:
    """Write teams in two levels, people, a key each and two for some, and budgets."""
    Team.objects.bulk_create(
        Team(name=f"team {number:02} 团队", cost_center=f"{4000 + number // 4}") for number in range(TEAMS)
    )
    teams = list(Team.objects.order_by("pk"))
    for team in teams[TEAMS // 4 :]:
        team.parent = teams[team.pk % (TEAMS // 4)]
    Team.objects.bulk_update(teams, ["parent"])
    User.objects.bulk_create(
        User(username=f"user{number:04}", password="!", team=teams[number % TEAMS]) for number in range(USERS)
    )
    users = list(User.objects.filter(username__startswith="user").order_by("pk"))
    ApiKey.objects.bulk_create(
        ApiKey(user=user, name=name, prefix="wg_000000", digest=f"{user.pk}-{name}")
        for user in users
        for name in (("laptop", "ci") if user.pk % 5 == 0 else ("laptop",))
    )
    month = {"unit": Quota.Unit.COST, "window": Quota.Window.MONTH, "currency": "CNY", "limit": generous}
    Quota.objects.bulk_create(
        [Quota(team=team, **month) for team in teams] + [Quota(user=user, **month) for user in users]
    )


def _platforms() -> None:
    for name in dict.fromkeys(provider for provider, *_rest in MODELS):
        provider = Provider.objects.create(
            name=name, kind=Provider.Kind.OPENAI_COMPATIBLE, base_url="https://example.com/v1"
        )
        Model.objects.bulk_create(Model(provider=provider, model_id=model) for p, model, *_rest in MODELS if p == name)


def _temporary_tables() -> int:
    """Number the keys and the models for the statement that draws calls; return how many keys there are."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE ledger_rows_keys AS SELECT row_number() OVER (ORDER BY md5(k.id::text)) AS number,"
            " k.id AS key_id, u.id AS user_id, u.team_id FROM accounts_apikey k"
            " JOIN accounts_user u ON u.id = k.user_id"
        )
        cursor.execute(
            "CREATE TEMPORARY TABLE ledger_rows_models"
            " (number int, provider text, model text, currency text, prices bigint[])"
        )
        cursor.executemany(
            "INSERT INTO ledger_rows_models VALUES (%s, %s, %s, %s, %s)",
            [
                [number, provider, model, currency, _units(prices)]
                for number, (provider, model, currency, prices) in enumerate(MODELS, 1)
            ],
        )
        cursor.execute("CREATE INDEX ON ledger_rows_keys (number)")
        cursor.execute("ANALYZE ledger_rows_keys")
        cursor.execute("SELECT count(*) FROM ledger_rows_keys")
        return int(cursor.fetchone()[0])


def fill(calls: int, seed: float, last_day: date) -> None:
    """Write everything. Raises `SystemExit` on another database than an empty one of PostgreSQL."""
    if connection.vendor != "postgresql":
        raise SystemExit("This needs PostgreSQL: set DATABASE_URL.")
    if CallRecord.objects.exists():
        raise SystemExit("There are calls in this database already.")
    RuntimeSettings.objects.update_or_create(pk=1, defaults={"business_time_zone": ZONE, "report_currency": "CNY"})
    _platforms()
    _people(Decimal(20_000))
    first_day = last_day - timedelta(days=DAYS - 1)
    for month in range(12):
        ExchangeRate.objects.create(
            from_currency="USD",
            to_currency="CNY",
            rate=Decimal("7.1") + Decimal(month) / 100,
            valid_from=first_day + timedelta(days=30 * month),
        )
    keys = _temporary_tables()
    parameters: dict[str, Any] = {
        "keys": keys,
        "at_work": AT_WORK,
        "models": len(MODELS),
        "calls": calls,
        "days": DAYS,
        "zone": ZONE,
        "first_day": first_day,
        "kinds": list(KINDS),
        "scenes": list(SCENES),
        "reference_currency": REFERENCE[0],
        "reference": _units(REFERENCE[1]),
    }
    begin = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT setseed(%s)", [seed])
        for number in range(0, calls, BATCH):
            last = min(number + BATCH, calls) - 1
            with transaction.atomic():
                cursor.execute(_CALLS, parameters | {"begin": number, "end": last})
            print(f"{last + 1:,} calls after {time.monotonic() - begin:.0f} s", flush=True)
        cursor.execute(_ATTEMPTS)
        print(f"{cursor.rowcount:,} attempts after {time.monotonic() - begin:.0f} s", flush=True)
    bump()
    call_command("rebuild_usage")
    call_command("close_month", f"{first_day:%Y-%m}")
    call = CallRecord.objects.filter(booked_on=first_day, cost__gt=0).first()
    if call is not None:
        correct(Amount(cost=Decimal(-1), currency=call.currency), "billed twice by the platform", call=call)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    print(f"done after {time.monotonic() - begin:.0f} s, at {datetime.now(ZoneInfo(ZONE)):%H:%M}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5_000_000)
    parser.add_argument("--seed", type=float, default=0.5, help="between -1 and 1")
    parser.add_argument("--last-day", type=date.fromisoformat, default=date.today(), help="default: today")
    arguments = parser.parse_args()
    fill(arguments.calls, arguments.seed, arguments.last_day)


if __name__ == "__main__":
    main()
