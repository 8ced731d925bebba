"""What a call reserves for its answer, learnt from the answers before it."""

from decimal import Decimal
from typing import Any

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from accounts.ledger import admit_batch, run_batch
from accounts.ledger_items import Admitted
from accounts.models import CallRecord
from accounts.output_history import OutputHistory
from accounts.quota import Reservation
from providers.translation.usage import Usage
from tests.accounts.books import NOW, admission, admit, person, settle, settlement, snapshot, target

BIG = target()


def learnt(*tokens: int, kind: str = "main") -> OutputHistory:
    history = OutputHistory()
    for each in tokens:
        history.learn("main", "big", kind, each)
    return history


def test_few_answers_say_nothing() -> None:
    assert learnt(300, 300, 300, 300).expected(BIG, "main", 64_000) == 2000
    assert learnt(300, 300, 300, 300, 300).expected(BIG, "main", 64_000) == 300


def test_each_model_and_kind_has_its_own_mean_and_no_target_has_none() -> None:
    history = learnt(*[300] * 5)
    assert history.expected(BIG, "title", None) == 2000
    assert history.expected(target("main/small"), "main", None) == 2000
    assert history.expected(target("other/big"), "main", None) == 2000
    assert history.expected(None, "main", None) == 2000


def test_the_request_bounds_what_is_expected() -> None:
    assert learnt(*[9000] * 5).expected(BIG, "main", None) == 9000
    assert learnt(*[9000] * 5).expected(BIG, "main", 4096) == 4096
    assert learnt(*[0] * 5).expected(BIG, "main", None) == 1
    assert OutputHistory().expected(BIG, "main", 50) == 50


def test_the_newest_answers_weigh_most() -> None:
    history = learnt(*[100] * 200)
    for _ in range(60):
        history.learn("main", "big", "main", 1100)
    assert 1000 < history.expected(BIG, "main", None) < 1100


def test_names_that_clients_choose_do_not_fill_the_memory() -> None:
    history = OutputHistory()
    for number in range(3000):
        for _ in range(5):
            history.learn("main", f"model{number}", "main", 7)
    assert history.expected(target("main/model1999"), "main", None) == 7
    assert history.expected(target("main/model2000"), "main", None) == 2000


class Books(TestCase):
    def reserved(self, secret: str, history: OutputHistory, **fields: Any) -> Reservation:
        (result,) = admit_batch([admission(secret, **fields)], snapshot(), NOW, history)
        assert isinstance(result, Admitted)
        return Reservation.from_json(CallRecord.objects.get(pk=result.call_id).reservation)

    def test_what_was_answered_is_what_the_next_call_reserves(self) -> None:
        _key, secret = person()
        history = OutputHistory()
        for number in range(6):
            call = admit(secret)
            ended = [settlement(call.call_id, usage=Usage(input_tokens=80, output_tokens=400))]
            run_batch([], ended, snapshot(), NOW, history)
            assert self.reserved(secret, history, max_output_tokens=32_000).output_tokens == (
                2000 if number < 4 else 400
            )
        assert self.reserved(secret, history, max_output_tokens=100).output_tokens == 100
        # 100 tokens in at 3, 400 out at 15 per million.
        assert self.reserved(secret, history, max_output_tokens=None).cost == Decimal("0.0063")

    def test_what_failed_was_cancelled_or_is_estimated_teaches_nothing(self) -> None:
        _key, secret = person()
        history = OutputHistory()
        for fields in (
            {"status": "failed"},
            {"status": "cancelled"},
            {"usage": Usage(input_tokens=1, output_tokens=20, is_estimated=True)},
        ):
            for _ in range(5):
                run_batch([], [settlement(admit(secret).call_id, **fields)], snapshot(), NOW, history)
        assert self.reserved(secret, history, max_output_tokens=None).output_tokens == 2000

    def test_a_new_worker_reads_the_last_days_in_one_query(self) -> None:
        _key, secret = person()
        for tokens in (100, 200, 300, 400, 500):
            settle(admit(secret, kind="title"), usage=Usage(input_tokens=10, output_tokens=tokens))
        for _ in range(9):
            settle(admit(secret, kind="title"), status="failed", usage=Usage(), cost=None, currency="", cost_source="")
        history = OutputHistory()
        with CaptureQueriesContext(connection) as queries:
            history.load(NOW.date())
        assert len(queries) == 1
        assert self.reserved(secret, history, kind="title", max_output_tokens=None).output_tokens == 300
        assert self.reserved(secret, history, max_output_tokens=None).output_tokens == 2000
        late = OutputHistory()
        late.load(NOW.date().replace(month=12))
        assert late.expected(BIG, "title", None) == 2000
