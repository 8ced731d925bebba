"""What is to be done beside the calls, now and then: one thread per worker.

Each worker does all jobs, so a job must be harmless when two do it at once, on this machine or on another. A job that
fails is logged and done again when it is next due. When the database does not answer, that is said once.

The thread ends with the process: a job that waits for a chat or mail server does not hold up a SIGTERM, and must
therefore leave behind only what the next start can go on with.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from accounts import handovers, sightings
from accounts.exports import monthly
from accounts.notices import expiring, outbox, sending

logger = logging.getLogger(__name__)

SEND_NOTICES = "send notices"
# So long after the start, at the latest, each job is done for the first time.
_FIRST_WITHIN_S = 60.0
_STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class Job:
    """Something done every `every_s` seconds, and sooner when it is asked for by name."""

    name: str
    every_s: float
    run: Callable[[datetime], object]


def _send_notices(_now: datetime) -> None:
    # It asks for the time itself: a round may take a while.
    sending.send_due()


JOBS: tuple[Job, ...] = (
    Job(SEND_NOTICES, 5.0, _send_notices),
    Job("find keys that expire", 3600.0, expiring.tell_expiring),
    Job("erase secrets behind links that are over", 600.0, handovers.purge),
    Job("export the month", 600.0, monthly.run_due),
    Job("delete old notifications", 6 * 3600.0, outbox.purge),
    Job("forget the networks of keys", 24 * 3600.0, sightings.purge),
)


class Background:
    """The thread. Start it once per process, after the fork."""

    def __init__(self, jobs: Sequence[Job] = JOBS, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._clock = clock
        self._due = {job.name: clock() + min(job.every_s, _FIRST_WITHIN_S) for job in jobs}
        self._asked: set[str] = set()
        self._changed = threading.Condition()
        self._is_stopping = False
        self._is_down = False
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """End the thread; one that is in the middle of a job for longer than `timeout_s` ends with the process."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def wake(self, name: str) -> None:
        """Do the job `name` at once; returns without waiting for it."""
        with self._changed:
            self._asked.add(name)
            self._changed.notify()

    def do_due(self) -> None:
        """Do what is due or asked for."""
        with self._changed:
            asked, self._asked = self._asked, set()
        for name, job in self._jobs.items():
            if self._is_stopping:
                return
            if name in asked or self._clock() >= self._due[name]:
                self._do(job)
                self._due[name] = self._clock() + job.every_s

    def wait_s(self) -> float:
        """Return how long nothing is due."""
        return max(0.0, min(self._due.values()) - self._clock()) if self._due else _FIRST_WITHIN_S

    def _run(self) -> None:
        while not self._is_stopping:
            self.do_due()
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopping or bool(self._asked), self.wait_s())

    def _do(self, job: Job) -> None:
        try:
            job.run(timezone.now())
        except (OperationalError, InterfaceError) as error:
            if not self._is_down:
                logger.warning("the database does not answer in the background (%s): %s", job.name, error)
            self._is_down = True
        except Exception:
            logger.exception("the job %r failed; it is tried again when it is next due", job.name)
        else:
            if self._is_down:
                logger.warning("the database answers in the background again")
            self._is_down = False
        finally:
            # Between two rounds the thread needs none; the pool of PostgreSQL keeps it for others.
            connections.close_all()


_background: Background | None = None


def start() -> None:
    """Start the background thread of this process, once."""
    global _background
    if _background is None:
        started = _background = Background()
        outbox.on_written(lambda: started.wake(SEND_NOTICES))
        started.start()


def stop() -> None:
    """Stop the background thread of this process."""
    global _background
    if _background is not None:
        outbox.on_written(None)
        _background.stop()
        _background = None
