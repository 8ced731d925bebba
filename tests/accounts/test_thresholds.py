"""Warnings at thresholds of quotas."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import TestCase

from accounts import thresholds
from accounts.ledger import settle_batch
from accounts.ledger_items import Standing
from accounts.models import Quota, QuotaRaise, QuotaWindow
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
        (250, 100, 95),
        (0, 0, 0),
        (1, 0, 95),
    ],
)
def test_crossed(used: object, limit: object, percent: int) -> None:
    assert thresholds.crossed(Decimal(str(used)), Decimal(str(limit))) == percent


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
        with self.captureOnCommitCallbacks() as callbacks:
            settle_batch([settlement(call.call_id) for call in calls], snapshot())
        assert len(callbacks) == 1

    def test_the_limit_in_force_counts(self) -> None:
        key, secret = person()
        limited = quota(key, "tokens", "month", 1000)
        QuotaRaise.objects.create(quota=limited, amount=1000, starts_at=NOW, ends_at=NOW + timedelta(hours=1))
        assert self.use(secret, 900) == []
        (line,) = self.use(secret, 700)
        assert "75 % reached, 1600 of 2000 used" in line


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
