"""Short words for the parts of a Messages API request."""

from typing import Any

from providers.translation.dialect import Dialect
from providers.translation.request import ChatRequest, RequestOptions, to_chat_request, validate
from tests.translation.strict_openai import complaints

Json = dict[str, Any]

KEY = b"signing key of the tests"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
READ: Json = {
    "name": "Read",
    "description": "Read a file",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}


def user(*content: Any) -> Json:
    return _message("user", content)


def assistant(*content: Any) -> Json:
    return _message("assistant", content)


def system(*content: Any) -> Json:
    return _message("system", content)


def text(value: str, **extra: Any) -> Json:
    return {"type": "text", "text": value, **extra}


def use(tool_id: str, name: str = "Read", value: Any = None) -> Json:
    return {"type": "tool_use", "id": tool_id, "name": name, "input": {"path": "/a"} if value is None else value}


def result(tool_id: str, content: Any = "done", **extra: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": tool_id, "content": content, **extra}


def image(**source: Any) -> Json:
    return {"type": "image", "source": source or {"type": "base64", "media_type": "image/png", "data": PNG}}


def request_body(*messages: Json, **extra: Any) -> Json:
    return {"model": "any", "max_tokens": 1000, "messages": list(messages) or [user("hi")], **extra}


def options(dialect: Dialect | None = None, **extra: Any) -> RequestOptions:
    values: Json = {
        "model_id": "vendor-model",
        "provider_name": "vendor",
        "input_tokens_estimate": 100,
        "signing_key": KEY,
    }
    return RequestOptions(dialect=dialect or Dialect(), **{**values, **extra})


def translate(*messages: Json, dialect: Dialect | None = None, option: Json | None = None, **extra: Any) -> ChatRequest:
    """Return the translation of a validated request; a strict server must accept that of the plain dialect."""
    request = to_chat_request(validate(request_body(*messages, **extra)), options(dialect, **(option or {})))
    if dialect is None:
        assert complaints(request.body) == []
    return request


def sent(*messages: Json, dialect: Dialect | None = None, **extra: Any) -> list[Json]:
    """Return the messages sent upstream."""
    messages_sent: list[Json] = translate(*messages, dialect=dialect, **extra).body["messages"]
    return messages_sent


def _message(role: str, content: tuple[Any, ...]) -> Json:
    return {
        "role": role,
        "content": content[0] if len(content) == 1 and not isinstance(content[0], dict) else list(content),
    }
