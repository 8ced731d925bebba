"""The books: who is let in, what is reserved, what is booked."""

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from accounts import keys
from accounts.errors import KeyInvalid, QuotaExceeded, TooManyCalls
from accounts.ledger import Admitted, admit_batch, settle_batch
from accounts.models import Attempt, CallRecord, Quota, QuotaWindow, Team, UsageDaily, User
from accounts.verification import differences
from providers.translation.usage import Usage
from routing.fallback import AttemptResult
from routing.snapshot import SettingsSnapshot
from tests.accounts.books import NOW, admission, admit, person, quota, settle, settlement, snapshot, target


class Admitting(TestCase):
    def test_an_admitted_call_has_a_running_row(self) -> None:
        key, secret = person(team=Team.objects.create(name="platform"))
        call = admit(
            secret, session_id="s-1", agent_id="a-1", user_agent="claude-cli/2", request_bytes=7, streamed=True
        )
        row = CallRecord.objects.get()
        assert (row.pk, row.status, row.key, row.user, row.team) == (
            call.call_id,
            "running",
            key,
            key.user,
            key.user.team,
        )
        assert (row.requested_model, row.session_id, row.agent_id, row.user_agent) == (
            "claude-opus-5-5",
            "s-1",
            "a-1",
            "claude-cli/2",
        )
        assert (row.started_at, row.streamed, row.request_bytes) == (NOW, True, 7)
        assert call.policy is not None
        assert call.policy.name == "default"

    def test_each_way_of_being_invalid_has_its_own_text(self) -> None:
        revoked, revoked_secret = person("a")
        keys.revoke(revoked)
        _expired, expired_secret = person("b", expires_at=NOW - timedelta(seconds=1))
        _gone, gone_secret = person("c")
        User.objects.filter(username="c").update(is_active=False)
        texts = {}
        for name, secret in (
            ("unknown", "wg_nobody"),
            ("revoked", revoked_secret),
            ("expired", expired_secret),
            ("deactivated", gone_secret),
        ):
            with pytest.raises(KeyInvalid, match=name) as caught:
                admit(secret)
            texts[name] = str(caught.value)
        (missing,) = admit_batch([admission("", digests=())], snapshot(), NOW)
        assert isinstance(missing, KeyInvalid)
        assert "No API key" in str(missing)
        assert len({*texts.values(), str(missing)}) == 5
        assert not CallRecord.objects.exists()

    def test_a_key_expires_at_the_moment_it_says(self) -> None:
        _key, secret = person(expires_at=NOW)
        with pytest.raises(KeyInvalid, match="expired"):
            admit(secret)
        admit(secret, now=NOW - timedelta(seconds=1))

    def test_of_two_credentials_a_valid_one_wins(self) -> None:
        _key, secret = person()
        for digests in ((keys.digest("wg_wrong"), keys.digest(secret)), (keys.digest(secret), keys.digest("x"))):
            admit(secret, digests=digests)
        assert CallRecord.objects.count() == 2

    def test_a_batch_answers_in_order(self) -> None:
        _one, first = person("a")
        _two, second = person("b")
        results = admit_batch([admission(first), admission("wg_no"), admission(second)], snapshot(), NOW)
        assert [type(result) for result in results] == [Admitted, KeyInvalid, Admitted]
        assert [r.key_name for r in results if isinstance(r, Admitted)] == ["a/laptop", "b/laptop"]

    def test_who_only_asks_who_he_is_books_nothing(self) -> None:
        key, secret = person()
        quota(key, "requests", "total", 0)
        assert admit(secret, books=False).key_id == key.pk
        assert not CallRecord.objects.exists()

    def test_a_concurrency_cap_counts_running_calls(self) -> None:
        _key, secret = person(max_concurrency=2)
        results = admit_batch([admission(secret) for _ in range(3)], snapshot(), NOW)
        assert [type(result) for result in results] == [Admitted, Admitted, TooManyCalls]
        first = results[0]
        assert isinstance(first, Admitted)
        settle(first)
        admit(secret)
        with pytest.raises(TooManyCalls):
            admit(secret)

    def test_a_call_of_the_gateway_itself_is_none_of_the_running_calls(self) -> None:
        _key, secret = person(max_concurrency=1)
        batch = [admission(secret, kind="safety"), admission(secret), admission(secret, kind="classifier")]
        results = admit_batch([*batch, admission(secret)], snapshot(), NOW)
        assert [type(result) for result in results] == [Admitted, Admitted, Admitted, TooManyCalls]
        admit(secret, kind="safety")
        assert isinstance(results[1], Admitted)
        settle(results[1])
        admit(secret)

    def test_a_call_of_the_gateway_itself_is_refused_by_a_full_quota(self) -> None:
        key, secret = person()
        quota(key, "requests", "total", 1)
        admit(secret)
        with pytest.raises(QuotaExceeded):
            admit(secret, kind="safety")

    def test_the_number_of_queries_does_not_grow_with_the_batch(self) -> None:
        secrets = []
        for number in range(12):
            key, secret = person(f"user{number}")
            quota(key, "tokens", "day", 1000)
            secrets.append(secret)

        def queries(count: int) -> int:
            with CaptureQueriesContext(
                connection,
            ) as context:
                results = admit_batch([admission(secret) for secret in secrets[:count]], snapshot(), NOW)
                admitted = [result.call_id for result in results if isinstance(result, Admitted)]
                assert len(admitted) == count
                settle_batch([settlement(call_id) for call_id in admitted], snapshot())
            return len([query for query in context if "SAVEPOINT" not in query["sql"]])

        queries(12)  # opens the windows
        one, many = queries(1), queries(12)
        # executemany is logged once whatever it writes
        assert many == one
        assert one <= 10


class Quotas(TestCase):
    def refused(self, secret: str, **fields: object) -> QuotaExceeded:
        with pytest.raises(QuotaExceeded) as caught:
            admit(secret, **fields)
        return caught.value

    def test_parallel_calls_cannot_pass_a_cap_together(self) -> None:
        key, secret = person()
        quota(key, "requests", "day", 3)
        results = admit_batch([admission(secret) for _ in range(10)], snapshot(), NOW)
        assert sum(isinstance(result, Admitted) for result in results) == 3
        assert QuotaWindow.objects.get().reserved == 3

    def test_a_refusal_names_the_quota_and_its_reset(self) -> None:
        team = Team.objects.create(name="platform")
        _key, secret = person(team=team)
        quota(team, "tokens", "day", 100)
        view = snapshot(settings=SettingsSnapshot(business_time_zone=ZoneInfo("Asia/Shanghai")))
        error = self.refused(secret, view=view, input_tokens_estimate=150)
        assert str(error) == (
            "Quota of team platform reached: 100 tokens per day, 0 used, about 200 needed. "
            "It resets at 2026-11-24 00:00 (Asia/Shanghai). / "
            "配额已用完：团队 platform 每天限额 100 token，已用 0，本次约需 200。将于 2026-11-24 00:00 (Asia/Shanghai) 重置。"
        )
        assert error.retry_after_s == (16 * 60 - 10 * 60 - 11) * 60 - 12

    def test_of_several_full_quotas_the_last_to_reset_is_named(self) -> None:
        key, secret = person()
        quota(key, "requests", "minute", 0)
        quota(key.user, "requests", "month", 0)
        quota(key, "requests", "day", 0)
        assert self.refused(secret).window == "month"
        quota(key, "tokens", "total", 0)
        error = self.refused(secret)
        assert (error.window, error.resets_at, error.retry_after_s) == ("total", None, None)

    def test_the_truth_replaces_the_estimate(self) -> None:
        key, secret = person()
        quota(key, "tokens", "day", 1000)
        quota(key, "cost", "month", "1.5")
        quota(key, "requests", "total", 10)
        call = admit(secret)
        held = {window.quota.unit: (window.used, window.reserved) for window in QuotaWindow.objects.all()}
        assert held["tokens"] == (0, 150)
        assert held["requests"] == (0, 1)
        assert held["cost"] == (0, Decimal("0.00105"))
        settle(call)
        used = {window.quota.unit: (window.used, window.reserved) for window in QuotaWindow.objects.all()}
        assert used == {"tokens": (100, 0), "cost": (Decimal("0.00054"), 0), "requests": (1, 0)}

    def test_what_failed_or_was_cancelled_before_any_output_is_released(self) -> None:
        key, secret = person()
        quota(key, "requests", "day", 5)
        quota(key, "tokens", "day", 1000)
        for status in ("failed", "cancelled"):
            settle(admit(secret), status=status, usage=Usage(), cost=None, currency="")
        assert set(QuotaWindow.objects.values_list("used", "reserved")) == {(0, 0)}

    def test_a_cancelled_call_pays_for_what_it_used(self) -> None:
        key, secret = person()
        quota(key, "requests", "day", 5)
        settle(admit(secret), status="cancelled")
        assert QuotaWindow.objects.get().used == 1

    def test_a_new_window_begins_where_the_calls_are(self) -> None:
        key, secret = person()
        settle(admit(secret))
        running = admit(secret)
        quota(key, "tokens", "day", 1000)
        admit(secret)
        assert QuotaWindow.objects.get().used == 100
        # The call that was running when the window opened counts in it too.
        settle(running)
        assert QuotaWindow.objects.get().used == 200
        assert list(differences()) == []

    def test_a_new_day_is_a_new_window(self) -> None:
        key, secret = person()
        quota(key, "requests", "day", 1)
        late = admit(secret)
        self.refused(secret)
        tomorrow = NOW + timedelta(days=1)
        admit(secret, now=tomorrow)
        settle(late, ended_at=tomorrow)
        old, new = QuotaWindow.objects.order_by("starts_at")
        assert (old.used, old.reserved, new.used, new.reserved) == (1, 0, 0, 1)

    def test_five_hours_begin_with_the_first_call(self) -> None:
        key, secret = person()
        quota(key, "requests", "5h", 1)
        settle(admit(secret))
        error = self.refused(secret, now=NOW + timedelta(hours=4, minutes=59))
        assert error.retry_after_s == 60
        admit(secret, now=NOW + timedelta(hours=5))

    def test_warnings_do_not_block_and_switched_off_quotas_do_nothing(self) -> None:
        key, secret = person()
        quota(key, "requests", "day", 0, action=Quota.Action.WARN)
        quota(key, "tokens", "day", 0, is_active=False)
        settle(admit(secret))
        assert QuotaWindow.objects.get().used == 1

    def test_another_currency_does_not_count(self) -> None:
        key, secret = person()
        quota(key, "cost", "day", 1, currency="CNY")
        settle(admit(secret))
        assert QuotaWindow.objects.get().used == 0


class Settling(TestCase):
    def test_a_call_is_settled_exactly_once(self) -> None:
        key, secret = person()
        quota(key, "tokens", "day", 1000)
        call = admit(secret)
        assert settle(call) == 1
        assert settle(call) == 0
        assert settle_batch([settlement(call.call_id), settlement(call.call_id)], snapshot()) == 0
        assert UsageDaily.objects.get().calls == 1
        assert QuotaWindow.objects.get().used == 100

    def test_everything_about_the_end_is_kept(self) -> None:
        _key, secret = person()
        call = admit(secret)
        attempt = AttemptResult(target("a/x"), "default", "overloaded", 503, "busy\x00", NOW, 12)
        settle(
            call,
            usage=Usage(1, 2, 3, 4, 1, is_estimated=True),
            decision={"reason": "policy 默认"},
            dropped_fields=["context_management"],
            stop_reason="end_turn",
            http_status=200,
            upstream_request_id="up-1",
            ttft_ms=5,
            duration_ms=9,
            reference_cost=Decimal("0.1"),
            reference_currency="USD",
            attempts=(attempt, AttemptResult(target("b/y"), "", "ok", 200, "", NOW, 3)),
        )
        row = CallRecord.objects.get()
        assert (row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cache_write_tokens) == (1, 2, 3, 4)
        assert (row.cost, row.currency, row.reference_cost) == (Decimal("0.00054"), "USD", Decimal("0.1"))
        assert (row.decision, row.dropped_fields) == ({"reason": "policy 默认"}, ["context_management"])
        assert (row.settled_at, row.ttft_ms, row.duration_ms, row.usage_is_estimated) == (NOW, 5, 9, True)
        assert list(Attempt.objects.values_list("position", "provider_name", "outcome", "message")) == [
            (0, "a", "overloaded", "busy"),
            (1, "b", "ok", ""),
        ]

    def test_cache_writes_for_an_hour_are_noted_and_count_once(self) -> None:
        key, secret = person()
        quota(key, Quota.Unit.TOKENS, Quota.Window.DAY, 1000)
        settle(admit(secret), usage=Usage(input_tokens=10, cache_write_tokens=70, cache_write_1h_tokens=50))
        call = CallRecord.objects.get()
        assert (call.cache_write_tokens, call.cache_write_1h_tokens) == (70, 50)
        assert call.usage == Usage(input_tokens=10, cache_write_tokens=70, cache_write_1h_tokens=50)
        assert UsageDaily.objects.get().cache_write_tokens == 70
        assert QuotaWindow.objects.get().used == 80
        assert list(differences()) == []

    def test_no_nul_gets_into_the_columns_of_json(self) -> None:
        # PostgreSQL refuses the whole settlement, and the call would go on running.
        _key, secret = person()
        settle(
            admit(secret),
            decision={"skipped": [{"target": "any/a\x00b", "reason": "not the name of a model"}], "notes": ["\\u0000"]},
            dropped_fields=["spe\x00ed"],
        )
        record = CallRecord.objects.get()
        assert record.status == "ok"
        assert record.decision == {
            "skipped": [{"target": "any/ab", "reason": "not the name of a model"}],
            "notes": ["\\u0000"],
        }
        assert record.dropped_fields == ["speed"]

    def test_a_day_ends_at_midnight_of_the_business(self) -> None:
        _key, secret = person()
        view = snapshot(settings=SettingsSnapshot(business_time_zone=ZoneInfo("Asia/Shanghai")))
        for hour in (15, 16):
            moment = NOW.replace(month=11, day=30, hour=hour, minute=59)
            settle(admit(secret, now=moment, view=view), view)
        assert [str(day) for day in UsageDaily.objects.order_by("date").values_list("date", flat=True)] == [
            "2026-11-30",
            "2026-12-01",
        ]

    def test_money_adds_up_exactly(self) -> None:
        _key, secret = person()
        tenth = Decimal("0.1000000001")
        for _ in range(30):
            settle(admit(secret), cost=tenth)
        assert UsageDaily.objects.get().cost == tenth * 30
        assert list(differences()) == []

    def test_dimensions_stand_in_rows_of_their_own(self) -> None:
        _key, secret = person()
        settle(admit(secret))
        settle(admit(secret), model_name="small")
        settle(admit(secret), cost=None, currency="")
        settle(admit(secret), status="failed", usage=Usage(), cost=None, currency="")
        rows = UsageDaily.objects.order_by("model_name", "currency")
        assert [(r.model_name, r.currency, r.calls, r.failed_calls, r.unpriced_calls) for r in rows] == [
            ("big", "", 2, 1, 1),
            ("big", "USD", 1, 0, 0),
            ("small", "USD", 1, 0, 0),
        ]

    def test_the_books_agree_and_a_wrong_number_is_found(self) -> None:
        team = Team.objects.create(name="platform")
        key, secret = person(team=team)
        for subject in (key, key.user, team):
            quota(subject, "tokens", "day", 10_000)
            quota(subject, "cost", "month", 10)
        for number in range(5):
            settle(admit(secret), usage=Usage(number, number), cost=Decimal(number) / 7)
        admit(secret)
        assert list(differences()) == []
        UsageDaily.objects.update(calls=6)
        QuotaWindow.objects.filter(quota__team=team, quota__unit="tokens").update(used=1)
        assert len(list(differences())) == 2

    def test_a_failing_batch_books_nothing(self) -> None:
        _key, secret = person()
        call = admit(secret)
        with pytest.raises(TypeError), transaction.atomic():
            settle_batch([settlement(call.call_id, dropped_fields=[object()])], snapshot())
        assert CallRecord.objects.get().status == "running"
        assert not UsageDaily.objects.exists()
