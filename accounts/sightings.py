"""From which networks keys are used: written rarely, and a key that is used from many is flagged.

What this process saw within the hour it remembers, so a batch of calls from where calls came before asks the database
nothing. Another process may write the same once more; the row is the same.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction

from accounts.ledger_rows import marks, query, time_value, write
from accounts.models import KeyNetwork
from accounts.networks import site_of
from accounts.notices import events, outbox

logger = logging.getLogger(__name__)

# More networks than this within `WITHIN` are more than one person with a laptop and a phone has.
MAX_NETWORKS = 5
WITHIN = timedelta(hours=24)
EVERY = timedelta(hours=1)
# Where a key was used longer ago tells nobody anything.
KEEP = timedelta(days=90)
_MAX_REMEMBERED = 50_000

Sighting = tuple[int, str]  # the key's id, the network

_seen: dict[Sighting, datetime] = {}


def forget() -> None:
    """Forget what this process has seen."""
    _seen.clear()


def note(uses: Iterable[tuple[int, str]], now: datetime) -> None:
    """Write the networks of `uses` (key's id, client's address), unless they were within the hour. In a transaction."""
    found: set[Sighting] = set()
    for key_id, address in uses:
        network = site_of(address)
        if not network:
            continue
        last = _seen.get((key_id, network))
        if last is None or now - last >= EVERY:
            found.add((key_id, network))
    if not found:
        return
    # In a fixed order: two workers that write the same rows must not wait crosswise.
    rows = sorted(found)
    write(
        "INSERT INTO accounts_keynetwork (key_id, network, first_seen_at, last_seen_at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (key_id, network) DO UPDATE SET last_seen_at = EXCLUDED.last_seen_at",
        [[key_id, network, time_value(now), time_value(now)] for key_id, network in rows],
    )
    _flag(sorted({key_id for key_id, _network in rows}), now)
    # A batch that fails is written again, and must not think that it was.
    transaction.on_commit(lambda: _remember(rows, now))


def _remember(rows: list[Sighting], now: datetime) -> None:
    if len(_seen) + len(rows) > _MAX_REMEMBERED:
        old = [sighting for sighting, seen_at in _seen.items() if now - seen_at >= EVERY]
        for sighting in old:
            del _seen[sighting]
        if len(_seen) + len(rows) > _MAX_REMEMBERED:
            _seen.clear()
    _seen.update(dict.fromkeys(rows, now))


def _flag(key_ids: list[int], now: datetime) -> None:
    counted = query(
        f"SELECT key_id, COUNT(*) FROM accounts_keynetwork WHERE key_id IN ({marks(key_ids)}) AND last_seen_at > %s"
        " GROUP BY key_id HAVING COUNT(*) > %s ORDER BY key_id",
        [*key_ids, time_value(now - WITHIN), MAX_NETWORKS],
    )
    if not counted:
        return
    known = query(
        f"SELECT id FROM accounts_apikey WHERE id IN ({marks(counted)}) AND flagged_at IS NOT NULL",
        [key_id for key_id, _count in counted],
    )
    flagged = {key_id for (key_id,) in known}
    new = [(key_id, count) for key_id, count in counted if key_id not in flagged]
    write(
        "UPDATE accounts_apikey SET flagged_at = %s, flag_reason = %s WHERE id = %s AND flagged_at IS NULL",
        [[time_value(now), reason(count), key_id] for key_id, count in new],
    )
    _tell(new, now)


def _tell(flagged: list[tuple[int, int]], now: datetime) -> None:
    """Write for those who are to be told that keys (id, number of networks) were flagged."""
    hours = WITHIN // timedelta(hours=1)
    # By the day: two workers that flag a key at the same moment tell it once, and another day it may be told again.
    found = [
        events.Event(
            events.KEY_FLAGGED,
            f"{events.KEY_FLAGGED}:{key_id}:{now.date()}",
            {"key_id": key_id, "networks": count, "hours": hours},
        )
        for key_id, count in flagged
    ]
    outbox.tell_beside(found, "flagged keys", logger)


def purge(now: datetime) -> int:
    """Delete the networks from which no call came for `KEEP`, and return how many there were.

    `KEEP` is far longer than `WITHIN`, so no flag hangs on such a row. One that comes back is written anew.
    """
    count, _by_model = KeyNetwork.objects.filter(last_seen_at__lt=now - KEEP).delete()
    return count


def reason(count: int) -> str:
    """Return what the row of a flagged key says."""
    return f"used from {count} networks within {WITHIN // timedelta(hours=1)} hours"
