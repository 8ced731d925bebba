"""Group commit: one thread and one connection per worker write the books of all its calls.

A call puts an item on the queue and awaits a future. The thread takes whatever has gathered, writes it as one
transaction of settlements and one of admissions and resolves the futures, so a call costs one short transaction of
delay and the cost per call falls as load grows. When the database is away, admissions fail at once and settlements wait
in a bounded queue.
"""

import asyncio
import logging
import os
import queue
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.utils import timezone

from accounts import ledger_sql, reaper
from accounts.errors import LedgerUnavailable, Refusal
from accounts.ledger import run_batch
from accounts.ledger_items import Admission, Admitted, Settlement
from accounts.output_history import OutputHistory
from providers import calibration
from routing import health, health_rows, slots
from routing import snapshot as snapshots
from routing.snapshot import Snapshot

logger = logging.getLogger(__name__)

MAX_BATCH = 256
# About 2 KB each. Beyond that the oldest is given up: its row stays `running` and the reaper books an estimate.
MAX_WAITING_SETTLEMENTS = 20_000
HEARTBEAT_S = 10.0
REAP_S = 30.0
# So much later, at most, a worker with work to do knows what another has learnt of the targets, and of the others.
HEALTH_S = 1.0
# So often a worker reads how long the answers were that the others booked.
OUTPUTS_S = 3600.0
RETRY_S = 1.0
# An admission that has waited this long is refused: the client should try another gateway.
ADMIT_TIMEOUT_S = 5.0


@dataclass(slots=True)
class _Item:
    """A queued piece of work and the future that awaits it. Neither admission nor settlement: a probe."""

    admission: Admission | None = None
    settlement: Settlement | None = None
    future: "asyncio.Future[Any] | None" = None
    loop: asyncio.AbstractEventLoop | None = None


class LedgerThread:
    """The books of this worker. Start it once per process, after the fork."""

    def __init__(self) -> None:
        self.worker_id = uuid.uuid4()
        self.snapshot: Snapshot | None = None
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._waiting: deque[_Item] = deque()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._stopping = False
        self._is_registered = False
        self._is_down = False
        self._next_heartbeat = 0.0
        self._next_reap = 0.0
        self._next_health = 0.0
        self._next_outputs = 0.0
        self._outputs = OutputHistory()
        self._is_woken = False

    def start(self) -> None:
        """Start the thread. It registers the worker and reads the configuration as soon as the database answers."""
        ledger_sql.this_worker = self.worker_id
        health.current().on_change = self._wake
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Write what is queued, sign the worker off and end the thread; give up after `timeout_s`."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.error("the ledger did not end within %s s; the reaper will close its calls", timeout_s)

    async def admit(self, admission: Admission) -> Admitted:
        """Let a call in. Raises `Refusal` and `LedgerUnavailable`.

        A caller that is cancelled meanwhile leaves no running row behind: it is settled as cancelled.
        """
        if self._is_down:
            # The thread finds out on its own when the database is back; nobody waits for that.
            raise LedgerUnavailable("the database does not answer")
        item = self._put(_Item(admission=admission))
        assert item.future is not None
        try:
            async with asyncio.timeout(ADMIT_TIMEOUT_S):
                result = await asyncio.shield(item.future)
        except TimeoutError as error:
            item.future.add_done_callback(self._abandon(admission))
            raise LedgerUnavailable("the ledger is too slow") from error
        except asyncio.CancelledError:
            item.future.add_done_callback(self._abandon(admission))
            raise
        if isinstance(result, Refusal):
            raise result
        assert isinstance(result, Admitted)
        return result

    async def settle(self, settlement: Settlement) -> None:
        """Close a call and return when that is committed. Cancelling the wait does not cancel the settlement."""
        item = self._put(_Item(settlement=settlement))
        assert item.future is not None
        await asyncio.shield(item.future)

    def settle_soon(self, settlement: Settlement) -> None:
        """Close a call without waiting: nobody is there to be told."""
        self._queue.put(_Item(settlement=settlement))

    async def probe(self) -> None:
        """Return when the database has answered. Raises `LedgerUnavailable`."""
        if self._is_down:
            raise LedgerUnavailable("the database does not answer")
        item = self._put(_Item())
        assert item.future is not None
        try:
            async with asyncio.timeout(2.0):
                await asyncio.shield(item.future)
        except TimeoutError as error:
            raise LedgerUnavailable("the ledger is too slow") from error

    def _wake(self) -> None:
        """Let the thread write what was learnt of a target before the call that learnt it ends."""
        if not self._is_woken and not self._is_down:
            self._is_woken = True
            self._queue.put(_Item())

    def _put(self, item: _Item) -> _Item:
        item.loop = asyncio.get_running_loop()
        item.future = item.loop.create_future()
        self._queue.put(item)
        return item

    def _abandon(self, admission: Admission) -> Callable[["asyncio.Future[Any]"], None]:
        def close(future: "asyncio.Future[Any]") -> None:
            if future.cancelled() or future.exception() is not None or not isinstance(future.result(), Admitted):
                return
            if admission.books:
                self.settle_soon(Settlement(admission.call_id, "cancelled", timezone.now(), error_kind="client_closed"))

        return close

    # Everything below runs in the thread.

    def _run(self) -> None:
        try:
            self._turn([])
            while True:
                items, stop = self._take()
                self._turn(items)
                if stop and self._queue.empty():
                    break
            for _try in range(3):
                if not self._waiting:
                    break
                self._turn([])
            self._sign_off()
        except Exception:
            logger.critical("the ledger thread died; this worker admits no more calls", exc_info=True)
            self._is_down = True
        finally:
            connection.close()

    def _take(self) -> tuple[list[_Item], bool]:
        items: list[_Item] = []
        stop = self._stopping
        wait: float | None = RETRY_S if (self._waiting or self._is_down or not self._is_registered) else HEARTBEAT_S
        try:
            item = self._queue.get(timeout=0.0 if stop else wait)
            while True:
                if item is None:
                    stop = True
                else:
                    items.append(item)
                if len(items) >= MAX_BATCH:
                    break
                item = self._queue.get_nowait()
        except queue.Empty:
            pass
        return items, stop

    def _turn(self, items: list[_Item]) -> None:
        """Write one batch and what is due beside it."""
        try:
            try:
                self._try(items)
            except (OperationalError, InterfaceError):
                if self._is_down:
                    raise
                # A server that was restarted leaves dead connections behind: new ones are worth one try.
                _disconnect()
                self._try(items)
        except (OperationalError, InterfaceError) as error:
            self._away(items, error)

    def _try(self, items: list[_Item]) -> None:
        only_settles = bool(items) and all(item.settlement is not None for item in items)
        self._prepare(asks=not only_settles)
        self._share_health(asks=not only_settles)
        waiting = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
        try:
            self._write(waiting + items)
        except BaseException:
            self._waiting.extendleft(reversed(waiting))
            raise
        self._beat()

    def _prepare(self, *, asks: bool) -> None:
        """Have a connection and a registered worker; if it `asks`, the database must answer with the configuration."""
        connection.ensure_connection()
        if not self._is_registered:
            reaper.register(self.worker_id, socket.gethostname(), os.getpid())
            self._is_registered = True
        if self.snapshot is None or (asks and ledger_sql.config_version() != self.snapshot.version):
            self.snapshot = snapshots.load()

    def _share_health(self, *, asks: bool) -> None:
        """Write what this worker learnt of the targets, and, for the calls that come, read what the others did.

        How many others there are decides on the share of a provider's slots.

        Before anything else is written: should the database fail here, the whole batch can be repeated.
        """
        self._is_woken = False
        known, now = health.current(), time.monotonic()
        try:
            health_rows.write(known)
            if asks and now >= self._next_health:
                self._next_health = now + HEALTH_S
                health_rows.read(known)
                slots.current().workers = max(reaper.count_living(), 1)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            # A row that cannot be written or read must not stop the books.
            logger.exception("the health of targets is not shared")

    def _write(self, items: Sequence[_Item]) -> None:
        """Write `items` together; when the data of one is at fault, each by itself."""
        assert self.snapshot is not None
        admissions = [item for item in items if item.admission is not None]
        settlements = [item for item in items if item.settlement is not None]
        try:
            results = run_batch(
                [item.admission for item in admissions if item.admission is not None],
                [item.settlement for item in settlements if item.settlement is not None],
                self.snapshot,
                timezone.now(),
                self._outputs,
            )
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            if len(items) == 1:
                logger.exception("the ledger cannot write an item")
                self._resolve([(items[0], error)])
                return
            for item in items:
                self._write([item])
            return
        if self._is_down:
            # Before anybody learns of a result: who does may come back at once.
            self._is_down = False
            logger.warning("the database answers again")
        done: list[tuple[_Item, Any]] = list(zip(admissions, results, strict=True))
        done += [(item, None) for item in items if item.admission is None]
        self._resolve(done)

    def _away(self, items: Sequence[_Item], error: Exception) -> None:
        """The database does not answer: refuse admissions, keep settlements."""
        if not self._is_down:
            logger.error("the database does not answer: %s", error)
        self._is_down = True
        _disconnect()
        failed: list[tuple[_Item, Any]] = []
        for item in items:
            if item.settlement is None:
                failed.append((item, LedgerUnavailable("the database does not answer")))
            elif len(self._waiting) < MAX_WAITING_SETTLEMENTS:
                self._waiting.append(item)
            else:
                logger.error("too many settlements wait for the database; one is left to the reaper")
                failed.append((item, None))
        self._resolve(failed)

    def _resolve(self, done: Sequence[tuple[_Item, Any]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Item, Any]]] = {}
        for item, result in done:
            if item.loop is not None:
                by_loop.setdefault(item.loop, []).append((item, result))
        for loop, pairs in by_loop.items():
            try:
                loop.call_soon_threadsafe(_set_results, pairs)
            except RuntimeError:
                # The loop is closed: the process is ending, and what was written stays written.
                logger.debug("%d results came after the end of the event loop", len(pairs))

    def _beat(self) -> None:
        now = time.monotonic()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_S
            reaper.heartbeat(self.worker_id)
            calibration.save()
        assert self.snapshot is not None
        if now >= self._next_outputs:
            self._next_outputs = now + OUTPUTS_S
            self._outputs.load(timezone.localdate(timezone=self.snapshot.settings.business_time_zone))
        if now >= self._next_reap:
            self._next_reap = now + REAP_S
            closed = reaper.reap_calls(self.snapshot)
            if closed:
                logger.warning("closed %d calls of workers that died", closed)
            health_rows.purge()
            reaper.forget_sessions()
            reaper.forget_minutes()

    def _sign_off(self) -> None:
        if self._is_registered and not self._is_down:
            try:
                reaper.sign_off(self.worker_id)
            except DatabaseError:
                logger.warning("the worker could not sign off; the reaper will find it", exc_info=True)


def _disconnect() -> None:
    """Close the connection, and the pool behind it: psycopg's tries ever more rarely while a server is away."""
    connection.close()
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]


def _set_results(pairs: Sequence[tuple[_Item, Any]]) -> None:
    for item, result in pairs:
        future = item.future
        if future is None or future.done():
            continue
        if isinstance(result, Exception) and not isinstance(result, Refusal):
            future.set_exception(result)
        else:
            future.set_result(result)


_ledger: LedgerThread | None = None


def start() -> LedgerThread:
    """Start the ledger of this process, once, and return it."""
    global _ledger
    if _ledger is None:
        _ledger = LedgerThread()
        _ledger.start()
    return _ledger


def stop() -> None:
    """Stop the ledger of this process."""
    global _ledger
    if _ledger is not None:
        _ledger.stop()
        _ledger = None


def current() -> LedgerThread:
    """Return the running ledger. Raises `LedgerUnavailable` when the process has none."""
    if _ledger is None:
        raise LedgerUnavailable("the gateway is starting or stopping")
    return _ledger
