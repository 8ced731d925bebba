"""The protocol of an upstream client: `open` a target, get an `Answer` whose first event has already arrived."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from providers.target import Secret, Target
from providers.translation.usage import Usage


@dataclass(slots=True)
class UpstreamCall:
    """What the client asked for, in Anthropic Messages form, with the ids that the answer will carry."""

    body: dict[str, Any]  # decoded; never changed by a client, which copies what it alters
    raw: bytes  # the same as received
    streamed: bool  # the client asked for a stream
    requested_model: str  # the answer's `model`
    message_id: str  # "msg_" + 24 characters
    input_tokens_estimate: int
    session_id: str = ""
    query: str = ""  # the query string, without "?"
    # The client's own headers, lower-cased names; an Anthropic-wire client forwards a part of them.
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class SentRequest:
    """What went upstream, for the capture; the credential is already masked."""

    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Answer(Protocol):
    """An upstream's answer after its first meaningful event.

    For a streaming client: iterate `pieces()` (Anthropic SSE, ready for the wire), then send `tail()`, which was held
    back so that the books can be settled before the client sees the end. When `pieces()` raises `UpstreamError`, send
    `interrupted()` (closes an open block), then the error event.
    For any other client: await `message()`.
    """

    @property
    def usage(self) -> Usage: ...  # live; estimated by the answer itself when the upstream reports none

    @property
    def stop_reason(self) -> str | None: ...

    @property
    def is_empty(self) -> bool: ...  # ended without having said anything: worth another try

    @property
    def notes(self) -> list[str]: ...  # what was odd about the answer, one line each, without content

    status: int
    headers: list[tuple[str, str]]  # of the upstream, to be relayed; empty for translated answers
    upstream_request_id: str
    dropped_fields: list[str]
    received: bytearray | None  # raw bytes of the upstream, when the caller set it to a bytearray (capture)
    sent: SentRequest

    def pieces(self) -> AsyncIterator[bytes]: ...

    def tail(self) -> bytes: ...

    def interrupted(self) -> bytes: ...

    async def message(self) -> bytes:
        """Read to the end and return the body of a non-streaming answer. Raises `UpstreamError`."""
        ...

    async def aclose(self) -> None:
        """Close the connection to the upstream. May be called twice, and in mid-stream to cancel."""
        ...


class Client(Protocol):
    """Speaks one wire format."""

    async def open(self, target: Target, secret: Secret | None, call: UpstreamCall, *, capture: bool) -> Answer:
        """Ask `target` and return after the first meaningful event (or the end, for an empty answer).

        With `capture`, the answer keeps what was sent and received. Raises `UpstreamError`.
        """
        ...
