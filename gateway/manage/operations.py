"""What every operation has: a permission, a transaction and an actor if it writes, an entry in the document."""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Router, Schema
from ninja.parser import Parser
from ninja.responses import NinjaJSONEncoder
from pydantic import AfterValidator, AwareDatetime, ConfigDict, PlainSerializer, StringConstraints

from accounts.audit import acting
from gateway.config.fields import Invalid, Problems
from gateway.config.fields import text as config_text
from gateway.manage import MAX_BODY_BYTES
from gateway.manage.auth import Caller, ways_in
from gateway.manage.errors import ErrorAnswer, ManageError, invalid

_SAFE = ("GET", "HEAD")
_FAULTS = (400, 401, 403, 404, 409, 413, 500)


def within_reason(moment: Any) -> Any:
    """Return a day or moment that calendars can reckon with. Raises `ValueError`."""
    # Beyond, the arithmetic of calendars ends.
    if not 1970 <= moment.year <= 2200:
        raise ValueError("must be between 1970 and 2200")
    return moment


# A number, or the same as text; in answers always text, so that no digit is lost.
Amount = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount.normalize():f}", return_type=str)]
Moment = Annotated[AwareDatetime, AfterValidator(within_reason)]
Text = Annotated[str, StringConstraints(max_length=500)]


class Body(Schema):
    """What a request may hold: nothing but these fields."""

    model_config = ConfigDict(extra="forbid")

    def given(self) -> dict[str, Any]:
        """Return the fields that were sent, null ones included."""
        # Not `model_dump`, which writes amounts as answers do: as text.
        return {name: _given(getattr(self, name)) for name in type(self).model_fields if name in self.model_fields_set}


def _given(value: Any) -> Any:
    if isinstance(value, Body):
        return value.given()
    return [_given(one) for one in value] if isinstance(value, list) else value


def without_null(given: Mapping[str, Any], *names: str) -> None:
    """Raise `ManageError` for those of `names` that were sent as null: they cannot be empty."""
    if fields := [name for name in names if name in given and given[name] is None]:
        raise invalid(**dict.fromkeys(fields, "must not be null"))


class ExactParser(Parser):
    """JSON with exact numbers, without repeated names, and with nothing that a database cannot hold."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the body. Raises `ManageError`."""
        body = request.body
        if len(body) > MAX_BODY_BYTES:
            raise ManageError(413)
        try:
            document = json.loads(
                body, object_pairs_hook=_mapping, parse_float=Decimal, parse_constant=_refuse_constant
            )
        except (ValueError, RecursionError) as error:
            raise ManageError(400, f"The body is not JSON: {error}.") from None
        if not isinstance(document, dict):
            raise ManageError(400, "The body must be a JSON object.")
        _check_text(document, "")
        return document


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _value in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _check_text(value: Any, path: str) -> None:
    if isinstance(value, dict):
        for name, one in value.items():
            _check_text(name, f"{path}.{name}" if path else name)
            _check_text(one, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _check_text(one, f"{path}[{index}]")
    elif isinstance(value, str):
        try:
            config_text(value, path, Problems())
        except Invalid as error:
            raise ManageError(400, "", {path.encode("ascii", "replace").decode(): [str(error)]}) from None


def _query_names(signature: inspect.Signature) -> set[str]:
    """Return the names that the query string of a view may hold."""
    names: set[str] = set()
    for name, parameter in signature.parameters.items():
        if name == "data":
            continue  # the body
        kind = parameter.annotation
        model = getattr(kind, "__origin__", kind)
        if isinstance(model, type) and issubclass(model, Schema) and not issubclass(model, Body):
            names |= {field.alias or field_name for field_name, field in model.model_fields.items()}
        else:
            names.add(name)
    return names


def _check_query(request: HttpRequest, known: set[str]) -> None:
    unknown = {name: "unknown parameter" for name in request.GET if name not in known}
    if unknown:
        raise invalid(**unknown)
    for name, values in request.GET.lists():
        if len(values) > 1:
            raise invalid(**{name: "is given twice"})
        if "\x00" in values[0]:
            raise invalid(**{name: "holds characters that are not text"})


def _response(status: int, result: Any) -> HttpResponse:
    """Return the answer. It was made of our own schemas, and is not validated against them once more."""
    if result is None:
        return HttpResponse(status=status)
    document = result.model_dump(by_alias=True) if isinstance(result, Schema) else result
    return JsonResponse(document, status=status, encoder=NinjaJSONEncoder)


def operation(
    router: Router,
    method: str,
    path: str,
    permission: str,
    *,
    summary: str,
    answer: Any,
    description: str = "",
    status: int = 200,
    is_atomic: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a view (caller, …) as an operation that needs `permission`.

    One that writes runs for the caller in the audit log and, with `is_atomic`, in one transaction. Those that ask a
    platform must not hold one meanwhile.
    """

    def register(view: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(view)
        _caller, *arguments = signature.parameters.values()
        known = _query_names(signature)

        @functools.wraps(view)
        def run(request: HttpRequest, **values: Any) -> Any:
            _check_query(request, known)
            caller = getattr(request, "auth", None)
            assert isinstance(caller, Caller)
            if method in _SAFE:
                return _response(status, view(caller, **values))
            with acting(caller.actor):
                if not is_atomic:
                    return _response(status, view(caller, **values))
                with transaction.atomic():
                    return _response(status, view(caller, **values))

        first = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=HttpRequest)
        vars(run)["__signature__"] = signature.replace(parameters=[first, *arguments])
        needs = f"Needs the permission `{permission}`." if permission else "Open to every caller."
        router.api_operation(
            [method],
            path,
            auth=ways_in(permission),
            response={status: answer, **dict.fromkeys(_FAULTS, ErrorAnswer)},
            summary=summary,
            description=f"{description} {needs}".strip(),
            operation_id=view.__name__,
        )(run)
        return view

    return register
