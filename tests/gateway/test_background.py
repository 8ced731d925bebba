"""The thread that does things beside the calls."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

import pytest
from django.db import OperationalError, connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway import background
from gateway.background import Background, Job


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def job(name: str, every_s: float, done: list[str], fails: Callable[[], Exception | None] = lambda: None) -> Job:
    def run(_now: datetime) -> None:
        done.append(name)
        if (error := fails()) is not None:
            raise error

    return Job(name, every_s, run)


def test_each_job_is_done_at_its_own_pace() -> None:
    clock, done = Clock(), list[str]()
    thread = Background([job("often", 5, done), job("hourly", 3600, done)], clock)
    thread.do_due()
    assert (done, thread.wait_s()) == ([], 5)
    clock.now += 60
    thread.do_due()
    assert done == ["often", "hourly"]
    clock.now += 4
    thread.do_due()
    assert (done, thread.wait_s()) == (["often", "hourly"], 1)
    clock.now += 3596
    thread.do_due()
    assert done == ["often", "hourly", "often", "hourly"]


def test_a_job_that_fails_is_logged_and_done_again(caplog: pytest.LogCaptureFixture) -> None:
    clock, done = Clock(), list[str]()
    thread = Background([job("bad", 5, done, lambda: ValueError("why")), job("good", 5, done)], clock)
    for _ in range(2):
        clock.now += 5
        thread.do_due()
    assert done == ["bad", "good", "bad", "good"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.ERROR]
    assert "ValueError: why" in caplog.text


def test_a_database_that_is_away_is_said_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    clock, done, is_away = Clock(), list[str](), [True]
    thread = Background([job("x", 5, done, lambda: OperationalError("refused") if is_away[0] else None)], clock)
    for _ in range(4):
        clock.now += 5
        thread.do_due()
    is_away[0] = False
    for _ in range(2):
        clock.now += 5
        thread.do_due()
    assert len(done) == 6
    assert [record.getMessage() for record in caplog.records] == [
        "the database does not answer in the background (x): refused",
        "the database answers in the background again",
    ]


def test_a_job_is_done_at_once_when_it_is_asked_for_and_the_thread_ends() -> None:
    ran = threading.Event()
    thread = Background([Job("x", 3600, lambda _now: ran.set()), Job("y", 3600, lambda _now: None)])
    thread.start()
    thread.wake("x")
    assert ran.wait(10)
    thread.stop(10)
    assert not thread._thread.is_alive()


def test_a_job_that_waits_does_not_hold_up_the_end() -> None:
    began, goes_on = threading.Event(), threading.Event()

    def waits(_now: datetime) -> None:
        began.set()
        goes_on.wait(10)

    thread = Background([Job("x", 3600, waits), Job("y", 3600, lambda _now: pytest.fail("after the end"))])
    thread.start()
    thread.wake("x")
    assert began.wait(10)
    thread.wake("y")
    thread.stop(0.01)
    assert thread._thread.daemon
    goes_on.set()
    thread._thread.join(10)


def test_no_thread_runs_in_tests_unless_asked() -> None:
    assert background._background is None
    assert "background" not in {thread.name for thread in threading.enumerate()}


class Idle(TestCase):
    def test_a_minute_with_nothing_to_do_costs_a_little_more_than_its_twelve_looks_for_notices(self) -> None:
        counts = {}
        for row in background.JOBS:
            with CaptureQueriesContext(connection) as context:
                row.run(timezone.now())
            counts[row.name] = len(context)
        self.assertEqual(counts[background.SEND_NOTICES], 1)
        self.assertLessEqual(max(counts.values()), 2)
        per_hour = sum(counts[row.name] * 3600 / row.every_s for row in background.JOBS)
        self.assertLess(per_hour / 60, 12.3)
