"""What goes into the books and what comes out: the items of the ledger's batches."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.quota import Reservation
from providers.translation.usage import Usage
from routing.fallback import AttemptResult
from routing.intent.facts import SessionMemory
from routing.snapshot import PolicySnapshot, Snapshot

# Calls that the gateway makes itself while one of the client's runs. They are paid for like any other, but are none of
# the calls that a key may run at the same time: with a cap of one they could never begin.
INNER_KINDS = ("safety", "classifier", "continuation")


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that asks to be let in. With `books` false only the caller is identified (lists, token counts)."""

    call_id: uuid.UUID
    digests: tuple[str, ...]  # of the presented credentials, in order of preference
    books: bool
    requested_model: str = ""
    wire_format: str = "anthropic"
    kind: str = "main"
    streamed: bool = False
    input_tokens_estimate: int = 0
    max_output_tokens: int | None = None
    session_id: str = ""
    agent_id: str = ""
    sessions: tuple[str, ...] = ()  # what its memory is looked for under, the closest first (routing.intent.sessions)
    user_agent: str = ""
    request_bytes: int = 0
    client_address: str = ""  # "" where it cannot be told: a Unix socket, or nonsense from a proxy


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of the tightest of a caller's quotas is used up."""

    used_percent: int
    resets_at: datetime | None  # None: never


@dataclass(frozen=True, slots=True)
class Admitted:
    """A caller who may go on, and the configuration in force for the call."""

    call_id: uuid.UUID
    key_id: int
    user_id: int
    team_id: int | None
    key_name: str  # "user/name"
    allowed_models: tuple[str, ...]
    policy: PolicySnapshot | None
    capture: str  # a CaptureMode value
    snapshot: Snapshot
    reservation: Reservation
    session_keys: tuple[str, ...] = ()  # none where nothing is remembered: no routing by intent, or no session
    memory: SessionMemory | None = None  # of the session, however old
    downgraded_by: str = ""  # the full quota, in words, for which the call must go to a cheap target
    standing: Standing | None = None  # None without quotas, and where nothing is booked


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a session goes on with, to be written with the settlement of its call."""

    keys: tuple[str, ...]
    memory: SessionMemory


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a call ended."""

    call_id: uuid.UUID
    status: str  # a CallRecord.Status value, not running
    ended_at: datetime
    usage: Usage = field(default_factory=Usage)
    cost: Decimal | None = None
    currency: str = ""
    cost_source: str = ""
    reference_cost: Decimal | None = None
    reference_currency: str = ""
    uncached_cost: Decimal | None = None
    policy_name: str = ""
    route_name: str = ""
    scene_name: str = ""
    provider_name: str = ""
    model_name: str = ""
    decision: dict[str, Any] = field(default_factory=dict)
    dropped_fields: list[str] = field(default_factory=list)
    http_status: int | None = None
    error_kind: str = ""
    error_message: str = ""
    stop_reason: str = ""
    upstream_request_id: str = ""
    ttft_ms: int | None = None
    duration_ms: int | None = None
    attempts: tuple[AttemptResult, ...] = ()
    fallbacks: int = 0  # attempts that failed before the one that answered
    remembered: Remembered | None = None

    @property
    def compared_currency(self) -> str:
        """The currency of the reference cost, "" unless the call's own cost is known too: else nothing was saved."""
        return self.reference_currency if self.cost is not None and self.reference_cost is not None else ""
