"""The API's routes and exception handlers, nothing else."""

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect

from accounts import ledger_thread
from accounts.errors import LedgerUnavailable
from accounts.ids import new_request_id
from gateway import errors, front_ends, me, model_list, openapi, pipeline, token_count
from gateway.incoming import headers_of

api = openapi.DocumentedAPI(
    title="Wolfgate", version="1", docs_url=None, openapi_url="/api/openapi.json", urls_namespace="api"
)

# Clients append `/v1/messages` to their base URL, which may or may not end in `/v1` already.
PREFIXES = ("/v1/", "/", "/v1/v1/", "/api/v1/claude-code/", "/api/v1/claude-code/v1/")


async def messages(request: HttpRequest) -> HttpResponseBase:
    assert isinstance(request, ASGIRequest)
    return await pipeline.answer(request, front_ends.MESSAGES)


async def chat_completions(request: HttpRequest) -> HttpResponseBase:
    assert isinstance(request, ASGIRequest)
    return await pipeline.answer(request, front_ends.CHAT)


async def responses(request: HttpRequest) -> HttpResponseBase:
    assert isinstance(request, ASGIRequest)
    return await pipeline.answer(request, front_ends.RESPONSES)


async def count_tokens(request: HttpRequest) -> HttpResponse:
    assert isinstance(request, ASGIRequest)
    return await token_count.answer(request, await pipeline.identify(request))


async def models(request: HttpRequest) -> HttpResponse:
    assert isinstance(request, ASGIRequest)
    return model_list.listing(request, await pipeline.identify(request))


async def model(request: HttpRequest, model_id: str) -> HttpResponse:
    assert isinstance(request, ASGIRequest)
    return model_list.one(request, await pipeline.identify(request), model_id)


async def whoami(request: HttpRequest) -> HttpResponse:
    assert isinstance(request, ASGIRequest)
    return await me.answer(await pipeline.identify(request))


async def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


for prefix in PREFIXES:
    # The document names each route once.
    shown = prefix == "/v1/"
    for method, path, view, said in (
        ("POST", "messages", messages, openapi.MESSAGES),
        ("POST", "messages/count_tokens", count_tokens, openapi.COUNT_TOKENS),
        ("POST", "chat/completions", chat_completions, openapi.CHAT_COMPLETIONS),
        ("POST", "responses", responses, openapi.RESPONSES),
        ("GET", "models", models, openapi.MODELS),
        ("GET", "models/{path:model_id}", model, openapi.MODEL),
        ("GET", "me", whoami, openapi.ME),
    ):
        api.api_operation(
            [method],
            prefix + path,
            operation_id=view.__name__,
            openapi_extra=said if shown else None,
            include_in_schema=shown,
        )(view)
for path in ("/api/hello", "/api/v1/claude-code/api/hello", "/api/v1/claude-code", "/api/v1/claude-code/"):
    api.api_operation(["GET", "HEAD"], path, include_in_schema=False)(hello)


@api.api_operation(["GET", "HEAD"], "/", include_in_schema=False)
async def root(request: HttpRequest) -> HttpResponse:
    # Claude Code warms its connection up with HEAD; a person comes with GET.
    return HttpResponse() if request.method == "HEAD" else HttpResponseRedirect("/admin/")


@api.api_operation(["HEAD"], "/healthz", include_in_schema=False)
@api.get("/healthz", operation_id="healthz", openapi_extra=openapi.HEALTHZ)
async def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


@api.api_operation(["HEAD"], "/readyz", include_in_schema=False)
@api.get("/readyz", operation_id="readyz", openapi_extra=openapi.READYZ)
async def readyz(request: HttpRequest) -> HttpResponse:
    try:
        await ledger_thread.current().probe()
    except LedgerUnavailable as error:
        return HttpResponse(f"{error}\n", status=503, content_type="text/plain")
    return HttpResponse("ready\n", content_type="text/plain")


@api.exception_handler(Exception)
def failed(request: HttpRequest, error: Any) -> HttpResponse:
    """Answer any exception in the caller's wire format; one that has no answer of its own is logged."""
    assert isinstance(request, ASGIRequest)
    request_id = getattr(request, "request_id", "") or new_request_id()
    if errors.api_error(error).status == 500 and not isinstance(error, errors.ApiError):
        errors.logger.error("unexpected error", exc_info=error)
    return errors.response(error, request_id, front_ends.wire_format_of(request.path, headers_of(request)))
