"""The four stages of an exchange, kept for inspection: written by a thread of its own, never on a call's path.

    client_request      what the client sent
    upstream_request    what was sent to the platform that answered
    upstream_response   the platform's raw answer
    client_response     what the client got

In mode `metadata` a stage holds method, address, headers and size; in mode `full` the body too. Credentials are masked.
A full queue drops captures, counts them, and never holds up or fails a call.
"""

import logging
import queue
import threading
import time
import uuid
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, connection
from django.db.models import QuerySet
from django.utils import timezone

from gateway.models import Capture
from providers import wire_json

logger = logging.getLogger(__name__)

MAX_WAITING = 2000
_GATHER_S = 0.5
_BATCH = 100
_TRIES = 3
_PURGE_BATCH = 1000
_PURGE_EVERY_S = 3600.0
_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-gateway-key", "cookie", "set-cookie"}
)
_MASK = "***"


@dataclass(slots=True)
class Stage:
    """One stage, raw. `body` is None when it is not to be kept; `size_bytes` then says how long it was."""

    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = ""
    url: str = ""
    status: int | None = None
    body: bytes | None = None
    size_bytes: int = 0


@dataclass(slots=True)
class Exchange:
    """The stages of one call, to be compressed and written by the thread."""

    call_id: uuid.UUID
    client_request: Stage
    upstream_request: Stage
    upstream_response: Stage
    client_response: Stage
    is_full: bool
    max_bytes: int
    retention_days: int
    secrets: tuple[str, ...] = field(default=(), repr=False)


def _masked(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: _MASK if name.lower() in _SECRET_HEADERS else value for name, value in headers.items()}


def _pack(stage: Stage, max_bytes: int, secrets: Iterable[str]) -> tuple[bytes, bool]:
    document: dict[str, Any] = {"headers": _masked(stage.headers), "bytes": stage.size_bytes}
    known = {"method": stage.method, "url": stage.url, "status": stage.status}
    document |= {name: value for name, value in known.items() if value}
    truncated = False
    if stage.body is not None:
        document["bytes"] = max(stage.size_bytes, len(stage.body))
        truncated = len(stage.body) > max_bytes
        document["body"] = stage.body[:max_bytes].decode("utf-8", "replace")
        document["truncated"] = truncated
    text = wire_json.encode(document)
    for secret in secrets:
        if len(secret) >= 8:
            text = text.replace(secret.encode(), _MASK.encode())
    return zlib.compress(text, 6), truncated


def read_stage(blob: bytes) -> dict[str, Any]:
    """Return a stage: `headers`, `bytes`, and where known `method`, `url`, `status`, `body`, `truncated`.

    `body` is text, or None when it was not kept.
    """
    document: dict[str, Any] = wire_json.decode(zlib.decompress(blob))
    return {"body": None, "truncated": False, **document}


def _row(exchange: Exchange) -> Capture:
    stages = {}
    is_truncated = False
    for name in ("client_request", "upstream_request", "upstream_response", "client_response"):
        stages[name], cut = _pack(getattr(exchange, name), exchange.max_bytes, exchange.secrets)
        is_truncated = is_truncated or cut
    now = timezone.now()
    return Capture(
        call_id=exchange.call_id,
        is_full=exchange.is_full,
        is_truncated=is_truncated,
        expires_at=now + timedelta(days=exchange.retention_days),
        created_at=now,
        **stages,
    )


def purge(now: datetime, *, everything: bool = False) -> int:
    """Delete the captures that expired before `now`, or all of them; return how many. Usage and calls stay."""
    return _delete(Capture.objects.all() if everything else Capture.objects.filter(expires_at__lte=now))


def purge_older(moment: datetime) -> int:
    """Delete the captures of calls that began before `moment`; return how many. Usage and calls stay."""
    return _delete(Capture.objects.filter(call__started_at__lt=moment))


def _delete(captures: QuerySet[Capture]) -> int:
    deleted = 0
    # In batches: one statement over a month of captures would hold the database for minutes.
    while ids := list(captures.values_list("pk", flat=True)[:_PURGE_BATCH]):
        deleted += Capture.objects.filter(pk__in=ids).delete()[0]
    return deleted


class _Writer:
    """The thread that compresses and writes captures in batches, and deletes what has expired."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Exchange | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._next_purge = time.monotonic() + _PURGE_EVERY_S
        self.dropped = 0
        self._thread.start()

    def put(self, exchange: Exchange) -> None:
        try:
            self._queue.put_nowait(exchange)
        except queue.Full:
            self.dropped += 1
            if self.dropped % 100 == 1:
                logger.warning("captures come faster than they can be written; %d dropped so far", self.dropped)

    def stop(self, timeout_s: float = 5.0) -> None:
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch: list[Exchange] = []
            try:
                item = self._queue.get(timeout=max(1.0, self._next_purge - time.monotonic()))
            except queue.Empty:
                self._purge()
                continue
            # Calls come in crowds; one transaction for a crowd leaves the database to the ledger.
            deadline = time.monotonic() + _GATHER_S
            while item is not None:
                batch.append(item)
                if len(batch) >= _BATCH:
                    break
                try:
                    item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
            stopping = item is None
            if batch:
                self._write(batch)
            if time.monotonic() >= self._next_purge:
                self._purge()
        connection.close()

    def _purge(self) -> None:
        self._next_purge = time.monotonic() + _PURGE_EVERY_S
        try:
            if deleted := purge(timezone.now()):
                logger.info("deleted %d expired captures", deleted)
        except DatabaseError as error:
            logger.warning("expired captures could not be deleted: %s", error)
        finally:
            connection.close()

    def _write(self, batch: list[Exchange]) -> None:
        try:
            rows = [_row(exchange) for exchange in batch]
        except Exception:
            logger.exception("captures could not be packed")
            return
        for attempt in range(_TRIES):
            try:
                Capture.objects.bulk_create(rows, ignore_conflicts=True)
                return
            except DatabaseError as error:
                connection.close()
                if attempt == _TRIES - 1:
                    self.dropped += len(rows)
                    logger.warning("%d captures could not be written: %s", len(rows), error)


_writer: _Writer | None = None


def start() -> None:
    """Start the writer of this process, once."""
    global _writer
    _writer = _writer or _Writer()


def stop() -> None:
    """Write what waits and stop the writer."""
    global _writer
    if _writer is not None:
        _writer.stop()
        _writer = None


def keep(exchange: Exchange) -> None:
    """Hand an exchange to the writer; returns at once and cannot fail."""
    if _writer is not None:
        _writer.put(exchange)
