"""The wire formats that clients speak: one row each. Inside, all is Anthropic Messages."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from providers.clients.base import Answer, AnswerEncoder, UpstreamCall
from providers.clients.front_end import FrontEndAnswer
from providers.translation import events
from providers.translation.openai_clients import chat_answer, responses_answer
from providers.translation.openai_clients.chat_request import from_chat
from providers.translation.openai_clients.responses_request import from_responses
from providers.translation.validation import MessagesForm, validate


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """One client wire format: how its requests are read and how answers are written in it."""

    wire_format: str  # a CallRecord.wire_format value
    path: str  # the end of its calls' paths
    read: Callable[[Any], MessagesForm]  # decoded body -> Messages form; raises InvalidRequest
    ping: bytes
    new_encoder: Callable[[UpstreamCall], AnswerEncoder] | None = None  # None: the inside format goes out as it is


def _chat_encoder(call: UpstreamCall) -> AnswerEncoder:
    return chat_answer.ChatEncoder(
        call.client_body, message_id=call.message_id, model=call.requested_model, created=int(time.time())
    )


def _responses_encoder(call: UpstreamCall) -> AnswerEncoder:
    return responses_answer.ResponsesEncoder(
        call.client_body, message_id=call.message_id, model=call.requested_model, created=int(time.time())
    )


MESSAGES = FrontEnd("anthropic", "/messages", lambda document: MessagesForm(validate(document)), events.PING)
CHAT = FrontEnd("openai", "/chat/completions", from_chat, chat_answer.PING, _chat_encoder)
RESPONSES = FrontEnd("responses", "/responses", from_responses, responses_answer.PING, _responses_encoder)
_FRONT_ENDS = (CHAT, RESPONSES, MESSAGES)


def front_end_of(wire_format: str) -> FrontEnd:
    """Return the front end whose calls are recorded with `wire_format`."""
    return next((front_end for front_end in _FRONT_ENDS if front_end.wire_format == wire_format), MESSAGES)


def wire_format_of(path: str, headers: Mapping[str, str]) -> str:
    """Return the format in which a client that asks for `path` expects an error, and the list of models.

    Where the path does not tell, the headers do: only Anthropic's clients send `anthropic-version` or `x-api-key`.
    """
    for front_end in _FRONT_ENDS:
        if path.endswith(front_end.path) or f"{front_end.path}/" in path:
            return front_end.wire_format
    return "anthropic" if "anthropic-version" in headers or "x-api-key" in headers else "openai"


def error_event(call: UpstreamCall, answer: Answer | None, error_type: str, message: str, request_id: str) -> bytes:
    """Return what ends a broken stream of a client that does not speak Messages.

    The encoder that wrote the stream so far writes it; nothing written yet, and a relayed stream, need no state.
    """
    if isinstance(answer, FrontEndAnswer):
        return answer.encoder.error(error_type, message, request_id)
    assert call.new_encoder is not None
    return call.new_encoder(call).error(error_type, message, request_id)
