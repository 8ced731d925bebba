"""Cooldowns: what rests, for how long, who tries again, and what ends it. Clocks stand still until they are moved."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from providers.errors import ErrorKind, UpstreamError
from providers.target import Secret, Target
from routing.health import MAX_BACKOFF_S, MAX_COOLDOWN_S, OWN_CREDENTIAL, Cooldown, Health, Key, Try
from tests.accounts.books import target

ONE, TWO = Secret("one", "sk-1"), Secret("two", "sk-2")
A = replace(target("up/a"), secrets=(ONE,), model_pk=1)
B = replace(target("up/b"), secrets=(ONE,), model_pk=2)
OTHER = replace(target("other/a"), secrets=(ONE,), model_pk=3)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Case:
    """A health with clocks of its own: seconds since the start, and a wall that may be wrong."""

    def __init__(self, wall_is_ahead_s: float = 0.0) -> None:
        self.clock = Clock()
        self.health = Health(self.clock, lambda: self.clock.now + 1_700_000_000 + wall_is_ahead_s)

    def fail(self, target: Target = A, kind: ErrorKind = ErrorKind.SERVER_ERROR, **fields: Any) -> None:
        """Ask and fail, as the probe where one is due."""
        attempt = self.health.begin(target, "one", anyway=True)
        assert attempt is not None
        self.health.failed(target, "one", error(kind, **fields), attempt)
        self.health.end(attempt)

    def rests_for(self, target: Target = A) -> float:
        """Return how long `target` rests from here on, to the second."""
        begin, seconds = self.clock.now, 0
        while self.health.rests(target):
            seconds += 1
            self.clock.now = begin + seconds
        self.clock.now = begin
        return seconds


def error(kind: ErrorKind, status: int | None = 500, **fields: Any) -> UpstreamError:
    return UpstreamError(kind, "words", status=status, provider="up", **fields)


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        (ErrorKind.AUTH, 600),
        (ErrorKind.INSUFFICIENT_FUNDS, 1800),
        (ErrorKind.PERMISSION, 600),
        (ErrorKind.NOT_FOUND, 600),
        (ErrorKind.RATE_LIMITED, 20),
        (ErrorKind.OVERLOADED, 30),
        (ErrorKind.SERVER_ERROR, 10),
        (ErrorKind.TIMEOUT, 30),
        (ErrorKind.UNREACHABLE, 30),
        (ErrorKind.BAD_RESPONSE, 10),
        (ErrorKind.INVALID_REQUEST, 0),
        (ErrorKind.UNSUPPORTED_FEATURE, 0),
        (ErrorKind.CONTEXT_TOO_LONG, 0),
        (ErrorKind.CONTENT_FILTERED, 0),
    ],
)
def test_each_kind_rests_as_long_as_it_should_and_faults_of_the_request_never(kind: ErrorKind, seconds: int) -> None:
    case = Case()
    case.fail(A, kind)
    assert case.rests_for() == seconds


def test_every_failure_in_a_row_doubles_the_rest_up_to_a_bound() -> None:
    case = Case()
    seen = []
    for _ in range(9):
        case.fail()
        seen.append(case.rests_for())
        case.clock.now += seen[-1]
    assert seen == [10, 20, 40, 80, 160, 320, MAX_BACKOFF_S, MAX_BACKOFF_S, MAX_BACKOFF_S]
    case.health.succeeded(A, "one")
    case.fail()
    assert case.rests_for() == 10


def test_what_rests_longer_than_the_bound_anyway_is_not_shortened_by_it() -> None:
    case = Case()
    for _ in range(2):
        case.fail(A, ErrorKind.INSUFFICIENT_FUNDS)
        assert case.rests_for() == 1800
        case.clock.now += 1800


def test_the_upstreams_own_word_wins_within_bounds_and_is_not_doubled() -> None:
    for told, seconds in ((7, 7), (90, 90), (86_400, MAX_COOLDOWN_S), (0, 0)):
        case = Case()
        for _ in range(3):
            case.fail(A, ErrorKind.RATE_LIMITED, retry_after_s=float(told))
            assert case.rests_for() == seconds
            case.clock.now += seconds


def test_failures_of_one_trouble_count_once() -> None:
    case = Case()
    attempts = [case.health.begin(A, "one") for _ in range(50)]
    for attempt in attempts:
        case.health.failed(A, "one", error(ErrorKind.SERVER_ERROR), attempt)
    assert (case.rests_for(), case.health.cooling()[0].failures) == (10, 1)
    # A later word of the upstream about when to come back counts all the same.
    case.health.failed(A, "one", error(ErrorKind.RATE_LIMITED, retry_after_s=45.0), attempts[0])
    assert (case.rests_for(), case.health.cooling()[0].failures) == (45, 1)


def test_a_model_under_a_credential_rests_alone() -> None:
    case = Case()
    pair = replace(A, secrets=(ONE, TWO))
    case.fail(pair, ErrorKind.RATE_LIMITED)
    assert case.health.is_cooling("up/a", "one")
    assert not case.health.is_cooling("up/a", "two")
    assert not case.health.is_cooling("up/b", "one")
    assert not case.health.rests(pair)
    case.health.failed(pair, "two", error(ErrorKind.RATE_LIMITED))
    assert case.health.rests(pair)


def test_a_refused_credential_rests_with_all_its_models() -> None:
    case = Case()
    case.fail(A, ErrorKind.AUTH, status=401)
    assert case.health.is_cooling("up/b", "one")
    assert not case.health.is_cooling("up/b", "two")
    assert not case.health.is_cooling("other/a", "one")


def test_a_platform_that_is_not_there_rests_as_a_whole_until_it_answers_anything() -> None:
    case = Case()
    case.fail(A, ErrorKind.UNREACHABLE, status=None, never_connected=True)
    assert case.health.is_cooling("up/b", "two")
    assert not case.health.rests(OTHER)
    case.clock.now += 5
    case.fail(B, ErrorKind.INVALID_REQUEST, status=400)
    assert not case.health.rests(A)


def test_targets_at_rest_say_why() -> None:
    case = Case()
    case.fail(A, ErrorKind.RATE_LIMITED, retry_after_s=42.0)
    assert case.health.why(A) == "cooling down for 42 s after rate_limited"
    assert case.health.why(OTHER) == ""
    case.clock.now += 42
    assert case.health.why(A) == ""
    assert case.health.begin(A, "one") is not None
    assert case.health.why(A) == "on trial after rate_limited"


def test_when_the_time_is_over_exactly_one_call_tries() -> None:
    case = Case()
    case.fail()
    assert case.health.begin(A, "one") is None
    case.clock.now += 10
    tries = [case.health.begin(A, "one") for _ in range(20)]
    probe = tries[0]
    assert probe is not None
    assert probe.probes == (("up", "a", "one"),)
    assert tries[1:] == [None] * 19
    assert case.health.begin(A, "one", anyway=True) == Try(case.clock.now)  # asked as the last resort, no probe
    case.health.succeeded(A, "one", probe)
    case.health.end(probe)
    assert case.health.cooling() == []
    assert case.health.begin(A, "one") == Try(case.clock.now)


def test_a_probe_that_fails_doubles_the_rest_and_one_that_is_cancelled_leaves_it_to_the_next() -> None:
    case = Case()
    case.fail()
    case.clock.now += 10
    probe = case.health.begin(A, "one")
    assert probe is not None
    case.health.end(probe)  # the client hung up
    again = case.health.begin(A, "one")
    assert again is not None
    assert again.probes
    case.clock.now += 3
    case.health.failed(A, "one", error(ErrorKind.SERVER_ERROR), again)
    case.health.end(again)
    assert case.rests_for() == 20


def test_a_probe_that_never_ends_is_given_up_in_time() -> None:
    case = Case()
    case.fail()
    case.clock.now += 10
    assert case.health.begin(A, "one") is not None
    bound = A.timeouts.connect_s + A.timeouts.first_event_s + 30
    assert case.rests_for() == bound
    case.clock.now += bound
    assert case.health.begin(A, "one") is not None


def test_a_call_that_began_before_the_failure_proves_nothing() -> None:
    case = Case()
    early = case.health.begin(A, "one")
    case.clock.now += 5
    case.fail(A, ErrorKind.RATE_LIMITED)
    case.clock.now += 1
    case.health.succeeded(A, "one", early)
    assert case.health.rests(A)
    case.health.succeeded(A, "one", case.health.begin(A, "one", anyway=True))
    assert not case.health.rests(A)


def test_only_streams_of_known_models_teach_how_soon_a_target_begins() -> None:
    health = Case().health
    assert health.ttft_ms("up/a") is None
    health.began_to_answer(A, 1000)
    health.began_to_answer(A, 2000)
    assert health.ttft_ms("up/a") == 1200
    health.began_to_answer(replace(A, model_id="invented", model_pk=0), 5)
    assert health.ttft_ms("up/invented") is None


def test_names_of_the_clients_choice_have_an_end() -> None:
    case = Case()
    for number in range(3000):
        case.fail(replace(A, model_id=f"invented-{number}", model_pk=0), ErrorKind.NOT_FOUND, status=404)
    assert len(case.health.cooling()) <= 1000
    assert case.health.take_changes() == {}
    case.fail(replace(A, model_id="claude-opus-5", model_pk=0), ErrorKind.OVERLOADED, status=529)
    assert list(case.health.take_changes()) == [("up", "claude-opus-5", "one")]


def test_a_forwarded_credential_is_one_of_the_targets() -> None:
    case = Case()
    forwards = replace(A, secrets=(), forwards_client_credential=True)
    case.health.failed(forwards, OWN_CREDENTIAL, error(ErrorKind.OVERLOADED, 529))
    assert case.health.rests(forwards)


class TestSharing:
    """What one worker takes to the rows, another takes over. A dict stands for the table."""

    def exchange(self, table: dict[Key, Cooldown], *cases: Case) -> None:
        for case in cases:
            table.update(case.health.take_changes())
            case.health.adopt(table)

    def test_a_cooldown_reaches_another_worker_and_its_end_does_too(self) -> None:
        one, two, table = Case(), Case(), dict[Key, Cooldown]()
        one.fail(A, ErrorKind.OVERLOADED, status=529)
        one.clock.now += 10
        two.clock.now += 10
        self.exchange(table, one, two)
        assert (one.rests_for(), two.rests_for()) == (20, 20)
        two.health.succeeded(A, "one")
        self.exchange(table, two, one)
        assert not one.health.rests(A)
        assert table[("up", "a", "one")].error_kind == "overloaded"  # what happened last stays to be read
        one.fail()
        assert one.rests_for() == 10

    def test_failures_in_a_row_go_on_in_another_worker(self) -> None:
        one, two, table = Case(), Case(), dict[Key, Cooldown]()
        one.fail()
        self.exchange(table, one, two)
        two.clock.now += 10
        two.fail()
        assert two.rests_for() == 20

    def test_a_reset_reaches_everybody(self) -> None:
        for reset in (lambda table: table.clear(), lambda table: table.update(dict.fromkeys(table, Cooldown()))):
            one, two, table = Case(), Case(), dict[Key, Cooldown]()
            one.fail()
            self.exchange(table, one, two)
            reset(table)
            self.exchange(table, one, two)
            assert (one.rests_for(), two.rests_for()) == (0, 0)
            one.fail()
            assert one.rests_for() == 10

    def test_a_change_that_waits_to_be_written_is_not_lost_to_what_the_rows_say(self) -> None:
        one = Case()
        one.fail()
        one.health.give_back(one.health.take_changes())  # the database was away
        one.health.adopt({})
        assert one.rests_for() == 10
        assert list(one.health.take_changes()) == [("up", "a", "one")]

    def test_a_worker_that_starts_takes_over_what_is_left(self) -> None:
        one, table = Case(), dict[Key, Cooldown]()
        one.fail(A, ErrorKind.TIMEOUT, status=None)
        self.exchange(table, one)
        late = Case()
        late.clock.now += 12
        late.health.adopt(table)
        assert late.rests_for() == 18
        much_later = Case()
        much_later.clock.now += 500
        much_later.health.adopt(table)
        assert much_later.health.begin(A, "one") is not None

    def test_a_clock_that_is_wrong_is_measured_against_the_databases(self) -> None:
        one, two, table = Case(wall_is_ahead_s=-300), Case(wall_is_ahead_s=7200), dict[Key, Cooldown]()
        one.health.skew_s, two.health.skew_s = 300.0, -7200.0
        one.fail()
        self.exchange(table, one, two)
        assert two.rests_for() == 10
        unmeasured = Case(wall_is_ahead_s=-(10**7))
        unmeasured.health.adopt(table)
        assert unmeasured.rests_for() == MAX_COOLDOWN_S
