"""Limits of a key by the minute, as the ledger refuses for them."""

from datetime import timedelta

import pytest
from django.test import TestCase

from accounts.errors import QuotaExceeded
from accounts.key_limits import minute_limits, set_minute_limits
from accounts.models import Quota
from gateway.errors import api_error
from tests.accounts.books import NOW, admit, person


class MinuteLimits(TestCase):
    def setUp(self) -> None:
        self.key, self.secret = person()

    def refused(self, **fields: int) -> QuotaExceeded:
        with pytest.raises(QuotaExceeded) as caught:
            admit(self.secret, **fields)
        return caught.value

    def test_beyond_the_rate_the_client_is_to_wait_for_the_next_minute(self) -> None:
        set_minute_limits([self.key], {"requests": 2})
        admit(self.secret)
        admit(self.secret)
        error = self.refused()
        assert error.retry_after_s == 48  # it is 10:11:12
        answer = api_error(error)
        assert (answer.status, answer.error_type, answer.headers) == (429, "rate_limit_error", {"retry-after": "48"})
        admit(self.secret, now=NOW + timedelta(seconds=48))

    def test_a_call_that_no_minute_has_room_for_is_not_repeated(self) -> None:
        set_minute_limits([self.key], {"tokens": 1000})
        answer = api_error(self.refused(input_tokens_estimate=5000))
        assert answer.headers["x-should-retry"] == "false"
        assert "This call alone needs 5000" in answer.message
        admit(self.secret, input_tokens_estimate=900)

    def test_setting_twice_keeps_one_row_and_one_limit(self) -> None:
        Quota.objects.create(key=self.key, unit="tokens", window="minute", limit=9, currency="CNY")
        Quota.objects.create(key=self.key, unit="tokens", window="minute", limit=8, currency="USD")
        for limit in (5, 5, 6):
            set_minute_limits([self.key], {"tokens": limit, "requests": None})
        assert minute_limits(self.key) == {"tokens": 6}
        assert Quota.objects.filter(is_active=True).count() == 1
        set_minute_limits([self.key], {"tokens": None})
        assert minute_limits(self.key) == {}
        assert Quota.objects.count() == 2
