"""Warnings at thresholds of quotas."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from accounts import sightings, thresholds
from accounts.errors import QuotaExceeded
from accounts.ledger import settle_batch
from accounts.ledger_items import Standing
from accounts.models import Notification, Quota, QuotaRaise, QuotaWindow
from accounts.notices import outbox
from providers.translation.usage import Usage
from tests.accounts.books import NOW, admit, person, quota, settle, settlement, snapshot


@pytest.mark.parametrize(
    ("used", "limit", "percent"),
    [
        (0, 100, 0),
        ("74.99", 100, 0),
        (75, 100, 75),
        ("94.9", 100, 75),
        (95, 100, 95),
        ("99.9", 100, 95),
        (100, 100, 100),
        (250, 100, 100),
        (0, 0, 0),
        (1, 0, 100),
    ],
)
def test_crossed(used: object, limit: object, percent: int) -> None:
    assert thresholds.crossed(Decimal(str(used)), Decimal(str(limit))) == percent


@pytest.mark.parametrize(
    ("used", "limit", "expected"),
    [
        (0, 100, "ok"),
        (74, 100, "ok"),
        (75, 100, "warning"),
        (95, 100, "critical"),
        (100, 100, "used_up"),
        (0, 0, "used_up"),
    ],
)
def test_state(used: int, limit: int, expected: str) -> None:
    assert thresholds.state(Decimal(used), Decimal(limit)) == expected


class Thresholds(TestCase):
    def use(self, secret: str, tokens: int) -> list[str]:
        """Use tokens; return the warnings."""
        call = admit(secret, input_tokens_estimate=1, max_output_tokens=1)
        with self.captureOnCommitCallbacks() as callbacks:
            settle(call, usage=Usage(input_tokens=tokens))
        if not callbacks:
            return []
        with self.assertLogs("accounts.thresholds", "WARNING") as logs:
            for callback in callbacks:
                callback()
        return [record.getMessage() for record in logs.records]

    def test_each_threshold_is_said_once_per_window(self) -> None:
        key, secret = person()
        quota(key, "tokens", "day", 1000)
        quota(key.user, "tokens", "total", 10**9)
        assert self.use(secret, 700) == []
        assert self.use(secret, 60) == [
            "quota key dev1/laptop: 1000 tokens / day: 75 % reached, 760 of 1000 used, resets at 2026-11-24 00:00 UTC"
        ]
        assert self.use(secret, 60) == []
        (line,) = self.use(secret, 150)
        assert "95 % reached, 970 of 1000 used" in line
        assert self.use(secret, 20) == []
        assert set(QuotaWindow.objects.values_list("warned_percent", flat=True)) == {0, 95}

    def test_a_leap_over_both_is_said_once(self) -> None:
        key, secret = person()
        quota(key, "tokens", "total", 1000)
        (line,) = self.use(secret, 990)
        assert "95 % reached" in line
        assert "resets at no time" in line

    def test_calls_of_one_batch_report_once(self) -> None:
        key, secret = person()
        quota(key, "requests", "day", 4, action=Quota.Action.WARN)
        calls = [admit(secret) for _ in range(4)]
        with self.assertLogs("accounts.thresholds", "WARNING") as logs, self.captureOnCommitCallbacks(execute=True):
            settle_batch([settlement(call.call_id) for call in calls], snapshot())
        assert len(logs.records) == 1
        assert Notification.objects.count() == 1

    def test_the_limit_in_force_counts(self) -> None:
        key, secret = person()
        limited = quota(key, "tokens", "month", 1000)
        QuotaRaise.objects.create(quota=limited, amount=1000, starts_at=NOW, ends_at=NOW + timedelta(hours=1))
        assert self.use(secret, 900) == []
        (line,) = self.use(secret, 700)
        assert "75 % reached, 1600 of 2000 used" in line


class Told(TestCase):
    """What the ledger writes into the outbox."""

    def setUp(self) -> None:
        self.key, self.secret = person()

    def use(self, tokens: int) -> int:
        """Use tokens; return the number of statements of the settlement."""
        call = admit(self.secret, input_tokens_estimate=1, max_output_tokens=1)
        with CaptureQueriesContext(connection) as context:
            settle(call, usage=Usage(input_tokens=tokens))
        return len(context)

    def told(self) -> list[tuple[str, int]]:
        rows = Notification.objects.order_by("pk").values_list("event", "content")
        return [(event, content["percent"]) for event, content in rows]

    def test_each_threshold_is_told_once_and_nothing_costs_nothing(self) -> None:
        usual = self.use(1)
        limited = quota(self.key, "tokens", "month", 1000, action=Quota.Action.WARN)
        quiet = self.use(700)
        self.assertEqual((self.told(), quiet), ([], usual + 1))  # the window
        self.assertEqual(self.use(60), quiet + 3)  # one INSERT in a savepoint
        self.assertEqual(self.use(60), quiet)
        self.use(140)
        self.assertEqual(self.use(1), quiet)
        self.use(39)
        self.use(500)
        self.assertEqual(self.told(), [("quota_warning", 75), ("quota_warning", 95), ("quota_exhausted", 100)])
        row = Notification.objects.order_by("pk")[0]
        self.assertEqual(
            row.content,
            {
                "quota_id": limited.pk,
                "percent": 75,
                "used": "761",
                "limit": "1000",
                "resets_at": "2026-12-01T00:00:00+00:00",
            },
        )
        self.assertEqual((row.channel, row.recipient, row.status), (None, "", Notification.Status.PENDING))

    def test_the_first_refusal_of_a_remnant_is_told_and_the_next_are_not(self) -> None:
        quota(self.key, "tokens", "month", 1000)
        self.use(960)
        for _ in range(3):
            with self.assertRaises(QuotaExceeded):
                admit(self.secret, input_tokens_estimate=100, max_output_tokens=1)
        self.assertEqual(self.told(), [("quota_warning", 95), ("quota_exhausted", 100)])
        self.assertEqual(QuotaWindow.objects.get().warned_percent, 100)

    def test_a_call_that_is_too_large_is_no_news(self) -> None:
        quota(self.key, "tokens", "month", 1000)
        self.use(10)
        with self.assertRaises(QuotaExceeded):
            admit(self.secret, input_tokens_estimate=5000, max_output_tokens=1)
        self.assertEqual(self.told(), [])

    def test_limits_of_a_minute_are_not_told(self) -> None:
        quota(self.key, "requests", "minute", 1)
        self.use(1)
        with self.assertRaises(QuotaExceeded):
            admit(self.secret)
        self.assertEqual(self.told(), [])

    def test_the_sender_is_woken_when_it_is_committed(self) -> None:
        rung: list[bool] = []
        outbox.on_written(lambda: rung.append(True))
        self.addCleanup(outbox.on_written, None)
        quota(self.key, "tokens", "month", 1000)
        with self.captureOnCommitCallbacks() as callbacks:
            self.use(800)
        self.assertEqual(rung, [])
        for callback in callbacks:
            callback()
        self.assertEqual(rung, [True])

    def test_what_cannot_be_written_does_not_fail_the_books(self) -> None:
        quota(self.key, "tokens", "month", 1000)
        refuses = {
            "sqlite": "CREATE TRIGGER refuses BEFORE INSERT ON accounts_notification BEGIN SELECT RAISE(ABORT, 'no'); END",
            "postgresql": "ALTER TABLE accounts_notification ADD CONSTRAINT refuses CHECK (event = '')",
        }
        with connection.cursor() as cursor:
            cursor.execute(refuses[connection.vendor])
        with self.assertLogs("accounts.thresholds", "ERROR"):
            call = admit(self.secret, input_tokens_estimate=1, max_output_tokens=1)
            self.assertEqual(settle(call, usage=Usage(input_tokens=800)), 1)
        self.assertEqual(QuotaWindow.objects.get().used, 800)

    def test_a_flagged_key_is_told_once(self) -> None:
        sightings.forget()
        self.addCleanup(sightings.forget)
        for number in range(7):
            admit(self.secret, client_address=f"10.0.{number}.1")
        row = Notification.objects.get()
        self.assertEqual((row.event, row.content), ("key_flagged", {"key_id": self.key.pk, "networks": 6, "hours": 24}))


class Standings(TestCase):
    def test_a_caller_knows_the_tightest_of_his_quotas(self) -> None:
        key, secret = person()
        assert admit(secret).standing is None
        quota(key, "requests", "minute", 2)
        assert admit(secret).standing is None
        quota(key.user, "tokens", "month", 1000)
        total = quota(key, "cost", "total", 1)
        standing = admit(secret).standing
        assert standing is not None
        assert standing.used_percent == 0
        QuotaWindow.objects.filter(quota=total).update(used=Decimal("0.8"))
        assert admit(secret, now=NOW + timedelta(minutes=1)).standing == Standing(80, None)
        assert admit(secret, now=NOW + timedelta(minutes=1), books=False).standing is None
