"""A request as it was kept by a capture, in the form that routing reads."""

import zlib
from dataclasses import dataclass
from typing import Any

from gateway.capture import read_stage
from gateway.front_ends import front_end_of
from providers import wire_json
from providers.translation.validation import InvalidRequest


class NotKept(Exception):
    """The request is not to be had: `why` is "damaged", "no body", "cut" or "not a request"."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request in Messages form, with its headers by lower-cased name."""

    body: dict[str, Any]
    headers: dict[str, str]


def kept_request(client_request: bytes, wire_format: str) -> KeptRequest:
    """Return what the stage `client_request` of a capture holds. Raises `NotKept`."""
    try:
        stage: dict[str, Any] = read_stage(client_request) if client_request else {}
    except (ValueError, TypeError, zlib.error):
        raise NotKept("damaged") from None
    body = stage.get("body")
    if not isinstance(body, str):
        raise NotKept("no body")
    if stage.get("truncated"):
        raise NotKept("cut")
    try:
        document = wire_json.decode(body.encode("utf-8", "replace"))
        form = front_end_of(wire_format).read(document)
    except (ValueError, InvalidRequest, RecursionError):
        raise NotKept("not a request") from None
    headers = stage.get("headers")
    named = headers.items() if isinstance(headers, dict) else ()
    return KeptRequest(form.body, {str(name).lower(): str(value) for name, value in named})
