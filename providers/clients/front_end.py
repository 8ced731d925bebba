"""The answer in the format of a client that does not speak Messages: an encoder over an Anthropic-form answer."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from providers import wire_json
from providers.clients.base import Answer, AnswerEncoder, NotChanged
from providers.clients.event_bytes import data_of, split
from providers.translation.events import Event
from providers.translation.usage import Usage


class FrontEndAnswer(NotChanged):
    """An Anthropic-form answer, encoded for the client. See `providers.clients.base.Answer`."""

    def __init__(self, answer: Answer, encoder: AnswerEncoder, dropped_fields: Iterable[str] = ()) -> None:
        self.encoder = encoder
        self.status = answer.status
        # An Anthropic upstream's headers say nothing to another format's clients.
        self.headers: list[tuple[str, str]] = []
        self.upstream_request_id = answer.upstream_request_id
        self.dropped_fields = [*dropped_fields, *answer.dropped_fields]
        self._answer = answer

    @property
    def usage(self) -> Usage:
        """The usage so far."""
        return self._answer.usage

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped, once it has."""
        return self._answer.stop_reason

    @property
    def is_empty(self) -> bool:
        """Whether the upstream ended normally without saying anything."""
        return self._answer.is_empty

    @property
    def notes(self) -> list[str]:
        """What was odd about the answer, one line each, without content."""
        return self._answer.notes

    def rewrap(self, wrap: Callable[[Answer], Answer]) -> None:
        """Encode what `wrap` makes of the Anthropic-form answer instead of that itself. Before it is read."""
        self._answer = wrap(self._answer)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the encoded answer, without its end. Raises `UpstreamError`."""
        async for piece in self._answer.pieces():
            encoded = self.encoder.feed(events_in(piece))
            if encoded:
                yield encoded

    def tail(self) -> bytes:
        """Return the encoded end of the message; of an upstream that has left it out all the same."""
        events = list(events_in(self._answer.tail()))
        if not any(event["type"] == "message_stop" for event in events):
            events.append({"type": "message_stop"})
        return self.encoder.feed(events)

    def interrupted(self) -> bytes:
        """Return what closes an open block."""
        return self.encoder.feed(events_in(self._answer.interrupted()))

    async def message(self) -> bytes:
        """Return the whole answer as JSON. Raises `UpstreamError`."""
        return wire_json.encode(self.encoder.message(wire_json.decode(await self._answer.message())))

    async def aclose(self) -> None:
        """Close the connection to the upstream."""
        await self._answer.aclose()


def events_in(block: bytes) -> Iterator[Event]:
    """Yield the events in `block`, which holds whole Anthropic events; what is none is skipped."""
    for _begin, event in split(block):
        data = data_of(event)
        if not data:
            continue
        try:
            document = wire_json.decode(data)
        except ValueError:
            continue
        if _is_event(document):
            yield document


def _is_event(document: Any) -> bool:
    """Say whether an upstream's data have the form of an event, as far as an encoder relies on it."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("type"), str)
        and isinstance(document.get("index", 0), int)
        and all(isinstance(document.get(name, {}), dict) for name in ("message", "content_block", "delta"))
    )
