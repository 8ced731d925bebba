"""Temporary raises of quotas."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from accounts.errors import QuotaExceeded
from accounts.ledger import Admitted, admit_batch
from accounts.models import Quota, QuotaRaise
from tests.accounts.books import NOW, admission, admit, person, quota, settle, snapshot

HOUR = timedelta(hours=1)


def grant(to: Quota, amount: Any, starts_at: datetime = NOW - HOUR, ends_at: datetime = NOW + HOUR) -> QuotaRaise:
    return QuotaRaise.objects.create(quota=to, amount=Decimal(amount), starts_at=starts_at, ends_at=ends_at)


class Raises(TestCase):
    def test_the_limit_in_force_is_the_limit_and_the_raises_of_now(self) -> None:
        key, secret = person()
        limited = quota(key, "requests", "total", 1)
        grant(limited, 2)
        grant(limited, "1.5")
        grant(limited, 100, NOW - 2 * HOUR, NOW)  # ends at the moment that it says
        grant(limited, 100, NOW + timedelta(seconds=1), NOW + HOUR)
        results = admit_batch([admission(secret) for _ in range(9)], snapshot(), NOW)
        assert sum(isinstance(result, Admitted) for result in results) == 4
        refused = results[-1]
        assert isinstance(refused, QuotaExceeded)
        assert (refused.limit, refused.raised) == (Decimal("4.5"), Decimal("3.5"))
        assert "reached: 4.5 requests in total, 3.5 of it raised for a time, 0 used, 4 held by running" in str(refused)

    def test_a_raise_ends_without_anybody_doing_anything(self) -> None:
        key, secret = person()
        grant(quota(key, "requests", "month", 1), 1)
        settle(admit(secret))
        settle(admit(secret))
        with pytest.raises(QuotaExceeded, match="2 requests per month, 1 of it raised"):
            admit(secret)
        with pytest.raises(QuotaExceeded, match="1 requests per month, 2 used"):
            admit(secret, now=NOW + HOUR)

    def test_a_raise_is_of_one_quota(self) -> None:
        key, secret = person()
        grant(quota(key, "requests", "total", 0), 5)
        quota(key.user, "requests", "total", 0)
        with pytest.raises(QuotaExceeded, match="user dev1"):
            admit(secret)

    def test_a_quota_that_downgrades_is_raised_and_named_as_well(self) -> None:
        key, secret = person()
        limited = quota(key, "requests", "total", 0, action="downgrade")
        grant(limited, 1)
        assert admit(secret).downgraded_by == ""
        assert admit(secret).downgraded_by == "key dev1/laptop: 1 requests / total"

    def test_raises_cost_no_query(self) -> None:
        key, secret = person()
        limited = quota(key, "requests", "total", 100)
        admit(secret)

        def queries() -> int:
            with CaptureQueriesContext(connection) as context:
                admit(secret)
            return len(context)

        before = queries()
        for _ in range(3):
            grant(limited, 1)
        assert queries() == before <= 5
