"""How the targets do: which of them rest after a failure, and how soon they begin to answer. One `Health` per process.

    healthy -> fails -> cooling -> its time is over: one call is the probe -> answers: healthy
                           ^                                               -> fails: cooling, for twice as long

What rests is a model under a credential, a credential with all its models, or a whole platform. The workers tell each
other through rows, which the ledger thread writes and reads (routing/health_rows.py); calls go by what is in memory, so
a database that is away changes nothing. Every method holds the lock for microseconds and does no I/O: the event loop
and the ledger thread may both call any of them.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from providers.errors import ErrorKind, UpstreamError
from providers.target import Target
from routing.speed import Speeds

OWN_CREDENTIAL = "client's own"  # the name of a credential that is not stored
MAX_BACKOFF_S = 600.0
MAX_COOLDOWN_S = 3600.0  # also of what another machine wrote, whatever its clock says
# What a probe may take beyond the time that its target has for a first event. Ends are reported; this is for none.
_PROBE_GRACE_S = 30.0
# Where clients choose the names of models there is no end of them: beyond so many, those that are over are forgotten.
_MAX_STATES = 1000
# What a name that nobody has heard of leads to is the client's invention, and nothing for the other workers.
_OF_INVENTED_NAMES = frozenset({ErrorKind.NOT_FOUND, ErrorKind.PERMISSION})

# Provider, model, credential. No model: all of the credential. Neither: the whole platform.
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Cooldown:
    """A cooldown as the workers share it. Times are those of the database's clock. No failures: it is over."""

    failures: int = 0
    error_kind: str = ""
    http_status: int | None = None
    message: str = ""
    failed_at: datetime | None = None
    cooling_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cooling:
    """A cooldown for display."""

    key: Key
    failures: int
    error_kind: str
    http_status: int | None
    message: str
    remaining_s: float  # 0: it waits for a call that tries it


@dataclass(frozen=True, slots=True)
class Try:
    """A call that asks a target: when it began, what it is the probe of, and whether that failed by saying nothing."""

    began: float
    probes: tuple[Key, ...] = ()
    follows_silence: bool = False


@dataclass(slots=True)
class _State:
    """What is known of a key that has failed. Moments are of the monotonic clock."""

    cooldown: Cooldown
    failed: float
    until: float
    probed_until: float = 0.0  # a call that tries it holds it until then
    is_shared: bool = True
    seen: Cooldown | None = None  # the row as it was written or read last


class Health:
    """What this process knows of its targets."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._states: dict[Key, _State] = {}
        self._changed: set[Key] = set()
        self.speeds = Speeds(clock)
        self.skew_s = 0.0  # by which the database's clock is ahead of ours
        self.on_change: Callable[[], None] = lambda: None  # wakes whoever writes the rows

    # What calls ask.

    def is_cooling(self, target_name: str, credential_name: str) -> bool:
        """Say whether this model should not be asked by this credential while others can be."""
        if not self._states:  # most often: nothing has failed
            return False
        provider, _, model = target_name.partition("/")
        with self._lock:
            return self._rests(_keys(provider, model, credential_name), self._clock())

    def rests(self, target: Target) -> bool:
        """Say whether `target` should not be asked by any of its credentials while others can be."""
        with self._lock:
            now = self._clock()
            return all(self._rests(_keys_of(target, name), now) for name in _credential_names(target))

    def why(self, target: Target) -> str:
        """Return why `target` rests, "" if it does not."""
        with self._lock:
            now = self._clock()
            soonest: tuple[float, str] | None = None
            for name in _credential_names(target):
                states = [self._states[key] for key in _keys_of(target, name) if key in self._states]
                resting = [state for state in states if max(state.until, state.probed_until) > now]
                if not resting:
                    return ""
                last = max(resting, key=lambda state: state.until)
                if soonest is None or last.until < soonest[0]:
                    soonest = (last.until, last.cooldown.error_kind)
        if soonest is None:
            return ""
        until, kind = soonest
        return f"cooling down for {until - now:.0f} s after {kind}" if until > now else f"on trial after {kind}"

    def ttft_ms(self, target_name: str) -> float | None:
        """Return the milliseconds in which a target usually begins to answer; None if that is not known."""
        return self.speeds.ttft_ms(target_name)

    def cooling(self) -> list[Cooling]:
        """Return what rests or waits for its probe, by key."""
        with self._lock:
            now = self._clock()
            return [
                Cooling(
                    key,
                    state.cooldown.failures,
                    state.cooldown.error_kind,
                    state.cooldown.http_status,
                    state.cooldown.message,
                    max(state.until - now, 0.0),
                )
                for key, state in sorted(self._states.items())
                if state.cooldown.failures
            ]

    # What calls tell.

    def begin(self, target: Target, credential_name: str, *, anyway: bool = False) -> Try | None:
        """Note that a call is about to ask; None when the target rests, unless it is asked `anyway`.

        When a cooldown's time is over this call becomes its probe, and the target rests for all others until `end`.
        """
        with self._lock:
            now = self._clock()
            if not self._states:
                return Try(now)
            keys = _keys_of(target, credential_name)
            if not anyway and self._rests(keys, now):
                return None
            probes = tuple(
                key
                for key in keys
                if (state := self._states.get(key)) and state.cooldown.failures and not self._rests((key,), now)
            )
            for key in probes:
                timeouts = target.timeouts
                self._states[key].probed_until = now + timeouts.connect_s + timeouts.first_event_s + _PROBE_GRACE_S
            return Try(now, probes, any(self._states[key].cooldown.error_kind == ErrorKind.TIMEOUT for key in probes))

    def end(self, attempt: Try) -> None:
        """Let others try what `attempt` was the probe of. May be called twice; call it however the attempt ended."""
        if not attempt.probes:
            return
        with self._lock:
            for key in attempt.probes:
                if state := self._states.get(key):
                    state.probed_until = 0.0

    def failed(self, target: Target, credential_name: str, error: UpstreamError, attempt: Try | None = None) -> None:
        """Let what `error` concerns rest, for as long as it says; nothing when the request was at fault.

        Failures while it rests already are those of the same trouble, and do not count again.
        """
        with self._lock:
            now = self._clock()
            # Whoever answers with a status can be reached.
            is_changed = error.status is not None and self._clear(
                (target.provider_name, "", ""), attempt.began if attempt else now
            )
            is_changed |= error.cooldown_s > 0 and self._fail(target, credential_name, error, attempt, now)
        if is_changed:
            self.on_change()

    def succeeded(self, target: Target, credential_name: str, attempt: Try | None = None) -> None:
        """Forget the failures of a target that has answered.

        A call that began before a failure proves nothing about the time after it.
        """
        if not self._states:
            return
        with self._lock:
            began = attempt.began if attempt else self._clock()
            cleared = [self._clear(key, began) for key in _keys_of(target, credential_name)]
        if any(cleared):
            self.on_change()

    def began_to_answer(self, target: Target, ttft_ms: float) -> None:
        """Learn how soon a stream of `target` began. Names of the client's own choice are not learnt."""
        if target.model_pk:
            self.speeds.learn(target.name, ttft_ms)

    def _fail(
        self, target: Target, credential_name: str, error: UpstreamError, attempt: Try | None, now: float
    ) -> bool:
        seconds = error.cooldown_s
        key = _key_of(target, credential_name, error)
        state = self._states.get(key)
        failures = state.cooldown.failures if state else 0
        if state is not None and state.until > now and not (attempt and key in attempt.probes):
            if not (error.says_when and now + seconds > state.until + 1):
                return False
        else:
            failures += 1
        if not error.says_when:
            seconds = min(seconds * 2.0 ** min(failures - 1, 16), max(MAX_BACKOFF_S, seconds))
        if state is None:
            self._forget_some(now)
        common = self._wall() + self.skew_s
        # No database takes what a hostile upstream may put into its words.
        message = error.message.encode("utf-8", "replace").decode().replace("\x00", "")[:500]
        self._states[key] = _State(
            Cooldown(failures, error.kind.value, error.status, message, _moment(common), _moment(common + seconds)),
            failed=now,
            until=now + seconds,
            is_shared=bool(target.model_pk) or not key[1] or error.kind not in _OF_INVENTED_NAMES,
            seen=state.seen if state else None,
        )
        self._note(key)
        return True

    def _rests(self, keys: Iterable[Key], now: float) -> bool:
        return any(
            (state := self._states.get(key)) is not None and max(state.until, state.probed_until) > now for key in keys
        )

    def _clear(self, key: Key, began: float) -> bool:
        state = self._states.get(key)
        if state is None or not state.cooldown.failures or began < state.failed:
            return False
        if state.seen is None and key not in self._changed:
            del self._states[key]  # nobody else knows of it
            return False
        old = state.cooldown
        # What went wrong last stays to be read.
        state.cooldown = Cooldown(0, old.error_kind, old.http_status, old.message, old.failed_at)
        state.until = state.probed_until = 0.0
        self._note(key)
        return True

    def _note(self, key: Key) -> None:
        if self._states[key].is_shared:
            self._changed.add(key)

    def _forget_some(self, now: float) -> None:
        if len(self._states) < _MAX_STATES:
            return
        over = [key for key, state in self._states.items() if state.until <= now and key not in self._changed]
        if not over:
            # A thousand names at rest are none of ours: the oldest of the invented ones are given up first.
            states = self._states
            over = sorted(states, key=lambda key: (states[key].is_shared, states[key].failed))[: _MAX_STATES // 10]
        for key in over:
            del self._states[key]
            self._changed.discard(key)

    # What the ledger thread exchanges with the rows.

    def take_changes(self) -> dict[Key, Cooldown]:
        """Return what is to be written, by key in order; give it back with `give_back` if that fails."""
        with self._lock:
            taken = {key: self._states[key].cooldown for key in sorted(self._changed) if key in self._states}
            self._changed.clear()
            for key, cooldown in taken.items():
                self._states[key].seen = cooldown
            return taken

    def give_back(self, keys: Iterable[Key]) -> None:
        """Mark changes as unwritten again."""
        with self._lock:
            self._changed.update(key for key in keys if key in self._states)

    def adopt(self, rows: Mapping[Key, Cooldown]) -> None:
        """Take over what the rows say, except where a change of ours waits to be written. A missing row is a reset."""
        with self._lock:
            now = self._clock()
            common = _moment(self._wall() + self.skew_s)
            for key, cooldown in rows.items():
                if key not in self._changed:
                    self._adopt(key, cooldown, now, common)
            for key in [key for key, state in self._states.items() if state.seen is not None]:
                if key not in rows and key not in self._changed:
                    del self._states[key]

    def _adopt(self, key: Key, cooldown: Cooldown, now: float, common: datetime) -> None:
        state = self._states.get(key)
        if state is not None and state.seen == cooldown:
            if not cooldown.failures:
                del self._states[key]  # written as over
            return
        if not cooldown.failures:
            self._states.pop(key, None)
            return
        remaining = (cooldown.cooling_until - common).total_seconds() if cooldown.cooling_until else 0.0
        age = (common - cooldown.failed_at).total_seconds() if cooldown.failed_at else 0.0
        self._states[key] = _State(
            cooldown,
            failed=now - min(max(age, 0.0), MAX_COOLDOWN_S),
            until=now + min(max(remaining, 0.0), MAX_COOLDOWN_S),
            probed_until=state.probed_until if state else 0.0,
            seen=cooldown,
        )


def _keys(provider: str, model: str, credential: str) -> tuple[Key, ...]:
    """Return everything that concerns a model under a credential."""
    return ((provider, model, credential), (provider, "", credential), (provider, "", ""))


def _keys_of(target: Target, credential_name: str) -> tuple[Key, ...]:
    return _keys(target.provider_name, target.model_id, credential_name)


def _key_of(target: Target, credential_name: str, error: UpstreamError) -> Key:
    match error.cooldown_scope:
        case "provider":
            return (target.provider_name, "", "")
        case "credential":
            return (target.provider_name, "", credential_name)
        case _:
            return (target.provider_name, target.model_id, credential_name)


def _credential_names(target: Target) -> list[str]:
    names = [secret.name for secret in target.secrets]
    if target.forwards_client_credential:
        names.append(OWN_CREDENTIAL)
    return names or [""]


def _moment(seconds: float) -> datetime:
    # Not fromtimestamp, whose rounding of microseconds would not survive a round trip through every database.
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1e6))


_health = Health()


def current() -> Health:
    """Return the health that this process goes by."""
    return _health


def start_anew(instead: Health | None = None) -> Health:
    """Forget everything, or go by `instead`, for tests; return what the process goes by from here on."""
    global _health
    _health = instead or Health()
    return _health
