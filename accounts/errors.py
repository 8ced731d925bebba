"""Why a call is not admitted. `gateway/errors.py` gives each its status and wire form."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


class Refusal(Exception):
    """A call that the ledger does not admit."""


class KeyInvalid(Refusal):
    """No presented credential is a usable key. The message says which way it is not."""


@dataclass(eq=False)
class QuotaExceeded(Refusal):
    """A quota has no room for the call."""

    subject: str  # "key dev1/laptop", "user dev1", "team platform"
    unit: str
    window: str
    limit: Decimal
    used: Decimal
    currency: str
    resets_at: datetime | None
    retry_after_s: int | None

    def __str__(self) -> str:
        amount = f"{self.limit.normalize():f} {self.currency if self.unit == 'cost' else self.unit}"
        used = f"{self.used.normalize():f}"
        period = "in total" if self.window == "total" else f"per {'5 hours' if self.window == '5h' else self.window}"
        until = (
            f"It resets at {self.resets_at.isoformat(timespec='minutes')}."
            if self.resets_at
            else "It does not reset; ask your administrator to raise it."
        )
        return f"Quota of {self.subject} reached: {amount} {period}, {used} used. {until}"


@dataclass(eq=False)
class TooManyCalls(Refusal):
    """The key already has as many calls running as it may."""

    max_concurrency: int

    def __str__(self) -> str:
        return f"This key may run {self.max_concurrency} calls at the same time; wait for one to end."


class LedgerUnavailable(Exception):
    """The database cannot be reached; nothing can be admitted."""
