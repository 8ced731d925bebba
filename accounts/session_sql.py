"""The ledger's statements on the memory of sessions. They run inside the transaction of a batch."""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import connection

from accounts.ledger_items import Remembered
from accounts.ledger_rows import marks, query, read_time, time_value, write
from routing.intent.facts import SessionMemory

_FORGET_AT_ONCE = 500  # SQLite before 3.32 allows 999 parameters


def memories(keys: Collection[str]) -> dict[str, SessionMemory]:
    """Return what the sessions `keys` left, however long ago."""
    if not keys:
        return {}
    rows = query(
        "SELECT key, scene_name, target_name, policy_name, used_at FROM routing_stickysession"
        f" WHERE key IN ({marks(keys)})",
        list(keys),
    )
    return {
        key: SessionMemory(scene_name, target_name, policy_name, moment)
        for key, scene_name, target_name, policy_name, used_at in rows
        if (moment := read_time(used_at)) is not None
    }


def remember(items: Sequence[Remembered]) -> None:
    """Write what the sessions go on with; of two turns of one session the last is kept.

    In the order of the keys: two workers that write the same sessions must not wait crosswise.
    """
    latest = {key: item.memory for item in items for key in item.keys}
    write(
        "INSERT INTO routing_stickysession (key, policy_name, scene_name, target_name, used_at)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (key) DO UPDATE SET policy_name = EXCLUDED.policy_name,"
        " scene_name = EXCLUDED.scene_name, target_name = EXCLUDED.target_name, used_at = EXCLUDED.used_at",
        [
            [key, memory.policy_name, memory.scene_name, memory.target_name, time_value(memory.used_at)]
            for key, memory in sorted(latest.items(), key=lambda pair: pair[0])
        ],
    )


def forget_before(moment: datetime) -> int:
    """Delete the sessions last used before `moment`, some at a time; return how many there were."""
    # A session that another worker is writing to is none of the idle ones: skipped, not waited for.
    lock = " FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    rows = query(
        f"SELECT key FROM routing_stickysession WHERE used_at < %s ORDER BY key LIMIT {_FORGET_AT_ONCE}{lock}",
        [time_value(moment)],
    )
    if rows:
        with connection.cursor() as cursor:
            # Not by key alone: on SQLite a session may have been used since the rows were read.
            cursor.execute(
                f"DELETE FROM routing_stickysession WHERE key IN ({marks(rows)}) AND used_at < %s",
                [*(row[0] for row in rows), time_value(moment)],
            )
    return len(rows)
