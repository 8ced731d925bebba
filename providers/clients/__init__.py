"""One client per wire format; what differs otherwise between platforms is data (providers/presets.py)."""

from providers.clients.anthropic import AnthropicClient
from providers.clients.base import Answer, Client, UpstreamCall
from providers.clients.front_end import FrontEndAnswer
from providers.clients.openai import OpenAIClient
from providers.clients.openai_relay import OpenAIRelay
from providers.errors import ErrorKind, UpstreamError
from providers.target import Secret, Target

_TYPES: dict[str, type[OpenAIClient | AnthropicClient]] = {"openai": OpenAIClient, "anthropic": AnthropicClient}
_CLIENTS: dict[str, Client] = {wire_format: kind() for wire_format, kind in _TYPES.items()}
_OPENAI_RELAY = OpenAIRelay()


def client_for(target: Target) -> Client:
    """Return the client that speaks the target's wire format."""
    return _CLIENTS[target.wire_format]


def new_client_for(target: Target) -> Client:
    """Return such a client that has learned nothing yet, for calls outside the process's event loop."""
    return _TYPES[target.wire_format]()


async def open_answer(target: Target, secret: Secret | None, call: UpstreamCall) -> Answer:
    """Ask `target` and return its answer in the client's wire format; see `Client.open`."""
    if call.new_encoder is None:
        return await client_for(target).open(target, secret, call)
    if call.wire_format == "openai" and target.wire_format == "openai":
        return await _OPENAI_RELAY.open(target, secret, call)
    if call.only_relayed:
        raise UpstreamError(ErrorKind.UNSUPPORTED_FEATURE, call.only_relayed, status=400)
    answer = await client_for(target).open(target, secret, call)
    return FrontEndAnswer(answer, call.new_encoder(call), call.dropped_fields)
