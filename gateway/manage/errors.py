"""Every answer of the management API that is none: one shape, whatever went wrong."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, RequestDataTooBig
from django.core.exceptions import ValidationError as ModelInvalid
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError, ValidationError
from pydantic import Field

from gateway.config.apply import Refused
from gateway.manage import MAX_BODY_BYTES, PREFIX, is_manage

logger = logging.getLogger(__name__)

_TYPES = {
    400: "invalid_request",
    401: "not_authenticated",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    500: "internal_error",
    502: "platform_failed",
}
_MESSAGES = {
    400: "The request cannot be understood.",
    401: "Send a key that has a scope as Authorization: Bearer or x-api-key, or sign in to the administration.",
    403: "This is not allowed.",
    404: "There is nothing here.",
    405: "This method is not allowed here.",
    413: f"The body exceeds {MAX_BODY_BYTES // 2**20} MiB.",
    500: "Something went wrong in the gateway; its log says what.",
}
_FIELDS_WRONG = "Some fields are wrong; nothing was changed."
# What pydantic says of our own checks begins with this.
_VALUE_ERROR = "Value error, "

Fields = Mapping[str, list[str]]


class ErrorBody(Schema):
    """What went wrong."""

    type: str = Field(examples=["invalid_request"])
    message: str = Field(examples=[_FIELDS_WRONG])
    fields: dict[str, list[str]] = Field(
        description="By field of the request: what is wrong with it.", examples=[{"name": ["is required"]}]
    )


class ErrorAnswer(Schema):
    """The body of every answer from 400 on."""

    error: ErrorBody


class ManageError(Exception):
    """An answer that is none; `fields` say by field of the request what is wrong."""

    def __init__(self, status: int, message: str = "", fields: Fields | None = None, *, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = dict(fields or {})
        self.kind = kind


def invalid(**fields: str) -> ManageError:
    """Return the refusal of these fields."""
    return ManageError(400, _FIELDS_WRONG, {name: [message] for name, message in fields.items()})


def response(status: int, message: str = "", fields: Fields | None = None, *, kind: str = "") -> JsonResponse:
    """Return the answer in the shape of all errors."""
    body = {
        "type": kind or _TYPES.get(status, _TYPES[400] if status < 500 else _TYPES[500]),
        "message": message or _MESSAGES.get(status, _MESSAGES[400] if status < 500 else _MESSAGES[500]),
        "fields": dict(fields or {}),
    }
    return JsonResponse({"error": body}, status=status, headers={"Cache-Control": "no-store"})


def of_model(error: ModelInvalid, names: Mapping[str, str] | None = None) -> ManageError:
    """Return the refusal of a model's checks; `names` map its fields to those of the request."""
    if not hasattr(error, "error_dict"):
        return ManageError(400, " ".join(error.messages))
    fields: dict[str, list[str]] = {}
    general: list[str] = []
    for name, messages in error.message_dict.items():
        if name == NON_FIELD_ERRORS:
            general += messages
        else:
            fields.setdefault((names or {}).get(name, name), []).extend(messages)
    return ManageError(400, " ".join(general) or _FIELDS_WRONG, fields)


def of_config(error: Refused, *prefixes: str) -> ManageError:
    """Return the refusal of the configuration's checks; `prefixes` are taken off the paths, the longest that fits."""
    fields: dict[str, list[str]] = {}
    general: list[str] = []
    for path, message in error.located:
        for prefix in sorted(prefixes, key=len, reverse=True):
            if path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")):
                path = path.removeprefix(prefix).removeprefix(".")
                break
        if path:
            fields.setdefault(path, []).append(message)
        else:
            general.append(message)
    return ManageError(400, " ".join(general) or _FIELDS_WRONG, fields)


def _of_request(errors: Iterable[Mapping[str, Any]]) -> Fields:
    fields: dict[str, list[str]] = {}
    for error in errors:
        where, *names = error["loc"]
        # The body stands under the name of the view's argument.
        names = names[1:] if where == "body" else names
        path = ""
        for name in names:
            path += f"[{name}]" if isinstance(name, int) else f".{name}" if path else str(name)
        message = "unknown field" if error["type"] == "extra_forbidden" else str(error["msg"])
        fields.setdefault(path or "body", []).append(message.removeprefix(_VALUE_ERROR))
    return fields


def add_handlers(api: NinjaAPI) -> None:
    """Let `api` answer every exception in this shape."""

    def failed(request: HttpRequest, error: Any) -> HttpResponse:
        cause = error.__cause__ if isinstance(error, HttpError) else None
        if isinstance(cause, ManageError | RequestDataTooBig):
            error = cause
        match error:
            case ManageError():
                return response(error.status, error.message, error.fields, kind=error.kind)
            case ValidationError():
                return response(400, _FIELDS_WRONG, _of_request(error.errors))
            case ModelInvalid():
                refusal = of_model(error)
                return response(400, refusal.message, refusal.fields)
            case Refused():
                refusal = of_config(error)
                return response(400, refusal.message, refusal.fields)
            case Http404():
                return response(404)
            case RequestDataTooBig():
                return response(413)
            case HttpError():
                return response(error.status_code, _MESSAGES.get(error.status_code, str(error)))
        logger.error("unexpected error", exc_info=error)
        return response(500)

    # The API has answers of its own to the last three.
    for kind in (Exception, ValidationError, HttpError, Http404):
        api.add_exception_handler(kind, failed)


class JsonErrors:
    """Middleware: what Django itself answers below /api/manage/ is JSON too, and nothing there is stored on the way."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_manage(request.path_info):
            return self.get_response(request)
        if not request.path_info.startswith(PREFIX):
            return response(404)  # which Django would lead to the path with a slash, where nothing is either
        answer = self.get_response(request)
        if answer.status_code >= 400 and not answer.headers.get("Content-Type", "").startswith("application/json"):
            allowed = answer.headers.get("Allow")
            answer = response(answer.status_code)
            if allowed:
                answer.headers["Allow"] = allowed
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer
