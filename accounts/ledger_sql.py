"""The ledger's statements, by hand: the ORM costs more per call than the database does. SQLite and PostgreSQL.

Everything here runs inside the transaction of a batch. Rows that are read to be changed are locked on PostgreSQL,
always in the order of their id, so two workers cannot deadlock; on SQLite the transaction itself is the lock.
"""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from django.db import connection

from accounts.ledger_items import INNER_KINDS, Settlement
from accounts.ledger_rows import (
    KeyRow,
    RunningRow,
    day_after_month,
    lock,
    marks,
    query,
    read_json,
    read_time,
    read_uuid,
    time_value,
    uuid_value,
    write,
)
from accounts.money import to_units

# The id of this process in `Worker`, set by the ledger thread.
this_worker: uuid.UUID | None = None

# SQLite before 3.32 allows 999 parameters in a statement.
_IN_LIMIT = 500


def config_version() -> int:
    """Return the version of the configuration."""
    rows = query("SELECT number FROM providers_configversion WHERE id = 1", ())
    return int(rows[0][0]) if rows else 0


def keys_by_digest(digests: Collection[str]) -> dict[str, KeyRow]:
    """Return the keys that have, or had before their last rotation, a secret of these digests, usable or not."""
    if not digests:
        return {}
    listed = list(digests)
    rows = query(
        "SELECT k.id, k.name, k.is_active, k.expires_at, k.revoked_at, k.policy_id, k.capture, k.allowed_models,"
        " k.max_concurrency, u.id, u.username, u.is_active, u.policy_id, t.id, t.name, t.policy_id, k.digest,"
        " k.previous_digest, k.previous_expires_at, k.allowed_networks"
        " FROM accounts_apikey k JOIN accounts_user u ON u.id = k.user_id"
        f" LEFT JOIN accounts_team t ON t.id = u.team_id WHERE k.digest IN ({marks(listed)})"
        # The second condition is that of the index, word for word: SQLite uses a partial index only then.
        f" OR (k.previous_digest IN ({marks(listed)}) AND NOT (k.previous_digest = ''))",
        [*listed, *listed],
    )
    found: dict[str, KeyRow] = {}
    for row in rows:
        key = KeyRow(
            id=row[0],
            name=row[1],
            is_active=bool(row[2]),
            expires_at=read_time(row[3]),
            revoked_at=read_time(row[4]),
            policy_id=row[5],
            capture=row[6],
            allowed_models=tuple(read_json(row[7]) or ()),
            max_concurrency=row[8],
            user_id=row[9],
            username=row[10],
            user_is_active=bool(row[11]),
            user_policy_id=row[12],
            team_id=row[13],
            team_name=row[14] or "",
            team_policy_id=row[15],
            allowed_networks=tuple(read_json(row[19]) or ()),
        )
        current, former, former_ends_at = row[16:19]
        if former:
            found.setdefault(former, replace(key, former_ends_at=read_time(former_ends_at)))
        found[current] = key
    return found


def running_calls(key_ids: Collection[int]) -> dict[int, int]:
    """Return how many calls of each of these keys are running, without those that the gateway makes for them.

    Locks the keys, so the answer stays true.
    """
    keys = sorted(key_ids)
    if connection.features.has_select_for_update:
        query(f"SELECT id FROM accounts_apikey WHERE id IN ({marks(keys)}) ORDER BY id FOR NO KEY UPDATE", keys)
    rows = query(
        "SELECT key_id, COUNT(*) FROM accounts_callrecord"
        f" WHERE status = 'running' AND key_id IN ({marks(keys)}) AND kind NOT IN ({marks(INNER_KINDS)})"
        " GROUP BY key_id",
        [*keys, *INNER_KINDS],
    )
    return {row[0]: row[1] for row in rows}


_CALL_COLUMNS = (
    "id, key_id, user_id, team_id, worker_id, requested_model, kind, wire_format, streamed, session_id, agent_id,"
    " user_agent, request_bytes, policy_name, reservation, started_at"
)
_INSERT_CALL = (
    f"INSERT INTO accounts_callrecord ({_CALL_COLUMNS}, dropped_fields, route_name, scene_name, provider_name,"
    " model_name, decision, status, error_kind, error_message, stop_reason, upstream_request_id, input_tokens,"
    " output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, thinking_tokens,"
    " usage_is_estimated, currency, cost_source, reference_currency, fallbacks)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
    " '[]', '', '', '', '', '{}', 'running', '', '', '', '', 0, 0, 0, 0, 0, 0, %s, '', '', '', 0)"
)


def insert_calls(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the running rows of admitted calls."""
    write(
        _INSERT_CALL,
        [
            [
                uuid_value(row["id"]),
                row["key_id"],
                row["user_id"],
                row["team_id"],
                uuid_value(row["worker_id"]),
                _text(row["requested_model"]),
                row["kind"],
                row["wire_format"],
                row["streamed"],
                _text(row["session_id"]),
                _text(row["agent_id"]),
                _text(row["user_agent"]),
                row["request_bytes"],
                row["policy_name"],
                json.dumps(row["reservation"]),
                time_value(row["started_at"]),
                False,
            ]
            for row in rows
        ],
    )


def _text(value: str) -> str:
    # PostgreSQL cannot keep NUL in text.
    return value.replace("\x00", "") if "\x00" in value else value


def _json(document: Any) -> str:
    """Return `document` as JSON that PostgreSQL takes: clients and upstreams can put NUL into the names it holds."""
    encoded = json.dumps(document, ensure_ascii=False)
    return encoded if "\\u0000" not in encoded else json.dumps(_without_nul(document), ensure_ascii=False)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_text(name): _without_nul(item) for name, item in value.items()}
    return value


def lock_running(ids: Collection[uuid.UUID]) -> tuple[list[RunningRow], date | None]:
    """Return and lock those of the calls `ids` that are still running; and the first day that is open to bookings.

    In one statement: whoever closes a month waits for the transactions that hold calls locked, and one that begins
    meanwhile waits at this statement and then sees the closed month (accounts.closing).
    """
    found: list[RunningRow] = []
    first_open: date | None = None
    pending = [uuid_value(value) for value in ids]
    for begin in range(0, len(pending), _IN_LIMIT):
        part = pending[begin : begin + _IN_LIMIT]
        rows = query(
            "SELECT id, key_id, user_id, team_id, kind, reservation, started_at,"
            " (SELECT MAX(month) FROM accounts_closedmonth) FROM accounts_callrecord"
            f" WHERE status = 'running' AND id IN ({marks(part)}) ORDER BY id{lock()}",
            part,
        )
        found += [
            RunningRow(read_uuid(call_id), key_id, user_id, team_id, kind, read_json(reservation), started_at)
            for call_id, key_id, user_id, team_id, kind, reservation, started, _closed in rows
            if (started_at := read_time(started)) is not None
        ]
        if rows:
            first_open = day_after_month(rows[0][7])
    return found, first_open


_CLOSE_CALL = (
    "UPDATE accounts_callrecord SET status = %s, settled_at = %s, booked_on = %s, policy_name = %s, route_name = %s,"
    " scene_name = %s, provider_name = %s, model_name = %s, decision = %s, dropped_fields = %s, http_status = %s,"
    " error_kind = %s, error_message = %s, stop_reason = %s, upstream_request_id = %s, input_tokens = %s,"
    " output_tokens = %s, cache_read_tokens = %s, cache_write_tokens = %s, cache_write_1h_tokens = %s,"
    " thinking_tokens = %s, usage_is_estimated = %s, cost = %s, currency = %s, cost_source = %s, reference_cost = %s,"
    " reference_currency = %s, uncached_cost = %s, fallbacks = %s, ttft_ms = %s, duration_ms = %s WHERE id = %s"
)


def close_calls(items: Sequence[tuple[Settlement, date]]) -> None:
    """Write how the calls ended. They are locked and running."""
    write(
        _CLOSE_CALL,
        [
            [
                item.status,
                time_value(item.ended_at),
                connection.ops.adapt_datefield_value(booked_on),
                item.policy_name,
                item.route_name,
                item.scene_name,
                item.provider_name,
                item.model_name,
                _json(item.decision),
                _json(item.dropped_fields),
                item.http_status,
                item.error_kind,
                _text(item.error_message[:500]),
                _text(item.stop_reason[:40]),
                _text(item.upstream_request_id[:120]),
                item.usage.input_tokens,
                item.usage.output_tokens,
                item.usage.cache_read_tokens,
                item.usage.cache_write_tokens,
                item.usage.cache_write_1h_tokens,
                item.usage.thinking_tokens,
                item.usage.is_estimated,
                None if item.cost is None else to_units(item.cost),
                item.currency if item.cost is not None else "",
                item.cost_source,
                None if item.reference_cost is None else to_units(item.reference_cost),
                item.reference_currency,
                None if item.uncached_cost is None else to_units(item.uncached_cost),
                item.fallbacks,
                item.ttft_ms,
                item.duration_ms,
                uuid_value(item.call_id),
            ]
            for item, booked_on in items
        ],
    )


def insert_attempts(items: Sequence[Settlement]) -> None:
    """Write every try of the calls."""
    write(
        "INSERT INTO accounts_attempt (call_id, position, provider_name, credential_name, model_name, outcome,"
        " http_status, message, started_at, duration_ms) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            [
                uuid_value(item.call_id),
                position,
                attempt.target.provider_name,
                attempt.credential_name,
                attempt.target.model_id,
                attempt.outcome[:30],
                attempt.http_status,
                _text(attempt.message[:500]),
                time_value(attempt.started_at),
                attempt.duration_ms,
            ]
            for item in items
            for position, attempt in enumerate(item.attempts)
        ],
    )
