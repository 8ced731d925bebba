"""One client per wire format; what differs otherwise between platforms is data (providers/presets.py)."""

from providers.clients.anthropic import AnthropicClient
from providers.clients.base import Client
from providers.clients.openai import OpenAIClient
from providers.target import Target

_CLIENTS: dict[str, Client] = {"openai": OpenAIClient(), "anthropic": AnthropicClient()}


def client_for(target: Target) -> Client:
    """Return the client that speaks the target's wire format."""
    return _CLIENTS[target.wire_format]
