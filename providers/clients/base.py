"""The protocol of an upstream client: `open` a target, get an `Answer` whose first event has already arrived."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from providers.target import SearchBackend, Secret, Target
from providers.translation.events import Event, ToolUse
from providers.translation.usage import Usage


@dataclass(slots=True)
class Recording:
    """The exchange with the upstream that was asked last, for the capture. It holds the credential in clear."""

    keeps_bodies: bool
    url: str = ""
    request_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    request_body: bytes = b""
    request_bytes: int = 0
    status: int | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: bytearray = field(default_factory=bytearray)
    response_bytes: int = 0

    def sending(self, url: str, headers: Mapping[str, str], content: bytes) -> None:
        """Begin anew with a request that goes out."""
        self.url, self.request_headers, self.request_bytes = url, headers, len(content)
        self.request_body = content if self.keeps_bodies else b""
        self.status, self.response_headers, self.response_bytes = None, {}, 0
        self.response_body = bytearray()

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Note the head of the answer."""
        self.status, self.response_headers = status, headers

    def add(self, data: bytes) -> None:
        """Note a piece of the answer's body."""
        self.response_bytes += len(data)
        if self.keeps_bodies:
            self.response_body += data


class AnswerEncoder(Protocol):
    """Writes one answer in a client's own format. It keeps the state of a stream: one encoder per answer."""

    ping: bytes  # bridges silence

    def feed(self, events: Iterable[Event]) -> bytes:
        """Return what the client gets for `events`; the closing bytes come with `message_delta`, `message_stop`."""
        ...

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a whole message as the answer to a client that asked for no stream."""
        ...

    def error(self, error_type: str, message: str, request_id: str) -> bytes:
        """Return what ends a broken stream. `error_type` is a type of the Messages API."""
        ...


@dataclass(slots=True)
class UpstreamCall:
    """What the client asked for, in Anthropic Messages form, with the ids that the answer will carry."""

    body: dict[str, Any]  # decoded; never changed by a client, which copies what it alters
    raw: bytes  # the client's own body as received
    streamed: bool  # the client asked for a stream
    requested_model: str  # the answer's `model`
    message_id: str  # "msg_" + 24 characters
    input_tokens_estimate: int
    session_id: str = ""
    query: str = ""  # the query string, without "?"
    # The client's own headers, lower-cased names; an Anthropic-wire client forwards a part of them.
    headers: Mapping[str, str] = field(default_factory=dict)
    recording: Recording | None = None
    wire_format: str = "anthropic"  # what the client speaks: "anthropic", "openai", "responses"
    client_body: Mapping[str, Any] = field(default_factory=dict)  # `raw` decoded, where that is another than `body`
    dropped_fields: tuple[str, ...] = ()  # of `client_body`: what `body` cannot say
    # Not "": what only a target that speaks the client's wire format can do.
    only_relayed: str = ""
    # Makes the encoder of one answer; None for clients that speak Messages.
    new_encoder: Callable[["UpstreamCall"], AnswerEncoder] | None = None
    search: SearchBackend | None = None  # runs web searches for models that have none
    # The client's own credential, as header -> value, for providers that forward it.
    client_credential: Mapping[str, str] = field(default_factory=dict, repr=False)
    gateway_secrets: tuple[str, ...] = field(default=(), repr=False)  # what it showed the gateway; never goes upstream
    is_passthrough: bool = False  # an answer with status 200 is the client's, whatever it says


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

    @property
    def tool_uses(self) -> list[ToolUse] | None: ...  # the tool calls so far; None for an answer relayed as it came

    status: int
    headers: list[tuple[str, str]]  # of the upstream, to be relayed; empty for translated answers
    upstream_request_id: str
    dropped_fields: list[str]

    def pieces(self) -> AsyncIterator[bytes]: ...

    def tail(self) -> bytes: ...

    def interrupted(self) -> bytes: ...

    async def message(self) -> bytes:
        """Read to the end and return the body of a non-streaming answer. Raises `UpstreamError`.

        May be called again after `add_to_end`.
        """
        ...

    def add_to_end(self, members: Mapping[str, Any]) -> None:
        """Add members to `message_delta.delta`, that is to the top level of the message; once all was read.

        Only for an answer whose `tool_uses` is not None: one that is relayed is not changed.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection to the upstream. May be called twice, and in mid-stream to cancel."""
        ...


class NotChanged:
    """The part of an `Answer` that nobody adds to: its bytes are another's, or in another format."""

    tool_uses: list[ToolUse] | None = None

    def add_to_end(self, members: Mapping[str, Any]) -> None:
        """Refuse."""
        raise TypeError("this answer is not changed")


class Client(Protocol):
    """Speaks one wire format."""

    async def open(self, target: Target, secret: Secret | None, call: UpstreamCall) -> Answer:
        """Ask `target` and return after the first meaningful event (or the end, for an empty answer).

        Raises `UpstreamError`, and `InvalidRequest` where the client's request contradicts itself.
        """
        ...
