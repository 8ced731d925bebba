"""A circuit breaker: who fails again and again is left alone for a while, then tried by one call before all others."""

from dataclasses import dataclass

FAILURES = 3  # in a row
FIRST_REST_S, LONGEST_REST_S = 10.0, 120.0
# A trial of which nothing more was heard: its call may have died with the task.
_TRIAL_S = 60.0
# Who has given a usable answer so recently is able to.
_PROVEN_S = 3600.0


@dataclass(slots=True)
class Breaker:
    """What is known of one model's readiness. Times are seconds of any steady clock, handed in."""

    failures: int = 0  # in a row
    rests: int = 0  # in a row
    open_until: float = 0.0
    trial_until: float = 0.0
    proven_until: float = 0.0

    def admits(self, now: float) -> bool:
        """Say whether the model may be asked; where that takes a trial, this was it until the answer is reported."""
        if not self.is_ready(now):
            return False
        if self.rests:
            self.trial_until = now + _TRIAL_S
        return True

    def is_ready(self, now: float) -> bool:
        """Say whether `admits` would."""
        return not self.rests or (now >= self.open_until and now >= self.trial_until)

    def succeeded(self, now: float) -> None:
        """Note a usable answer."""
        self.failures, self.rests, self.open_until, self.trial_until = 0, 0, 0.0, 0.0
        self.proven_until = now + _PROVEN_S

    def failed(self, now: float) -> bool:
        """Note that no answer came; say whether that began a rest."""
        if now < self.open_until:
            return False  # asked before the rest began: known
        self.failures += 1
        if not self.rests and self.failures < FAILURES:
            return False
        self.open_until = now + min(FIRST_REST_S * 2.0 ** min(self.rests, 10), LONGEST_REST_S)
        self.rests += 1
        self.trial_until = 0.0
        return True

    def unusable(self, now: float) -> bool:
        """Note an answer that is none, or a refusal of this very prompt; say whether that began a rest.

        Prompts can bring that about: nobody is to switch a model off for others that has shown that it can answer.
        """
        if now >= self.proven_until:
            return self.failed(now)
        self.failures, self.rests, self.open_until, self.trial_until = 0, 0, 0.0, 0.0
        return False

    def released(self) -> None:
        """Note that the model was not asked after all, or that nobody waited for its answer."""
        self.trial_until = 0.0
