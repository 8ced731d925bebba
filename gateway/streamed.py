"""Long files, sent while they are made, in memory that does not grow with them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import tzinfo

from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone, translation
from django.utils.http import content_disposition_header


def download(request: HttpRequest, parts: Iterator[bytes], name: str, content_type: str) -> StreamingHttpResponse:
    """Return the answer that sends `parts` as a file called `name`, each part when it is made."""
    is_async = isinstance(request, ASGIRequest)
    response = StreamingHttpResponse(aparts(parts) if is_async else parts, content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["Cache-Control"] = "no-store"
    # Else nginx keeps a long file back.
    response["X-Accel-Buffering"] = "no"
    return response


def aparts(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Return `parts`, each made in a thread of the file's own and only when it is wanted.

    Django would take a plain iterator whole before it sends the first byte. The thread has one database connection,
    which is closed with the last part, or when the client hangs up.
    """
    # The request has left its middleware, which know its reader, when the parts are made.
    return _made(parts, translation.get_language(), timezone.get_current_timezone())


async def _made(parts: Iterator[bytes], language: str | None, zone: tzinfo) -> AsyncIterator[bytes]:
    executor = ThreadPoolExecutor(1, "download", _as_reader, (language, zone))
    loop = asyncio.get_running_loop()
    try:
        while (part := await loop.run_in_executor(executor, next, parts, None)) is not None:
            yield part
    finally:
        # Not awaited: a cancelled task may be cancelled again. The one thread does it after the part in the making.
        executor.submit(_end, parts)
        executor.shutdown(wait=False)


def _as_reader(language: str | None, zone: tzinfo) -> None:
    if language:
        translation.activate(language)
    timezone.activate(zone)


def _end(parts: Iterator[bytes]) -> None:
    try:
        if close := getattr(parts, "close", None):
            close()
    finally:
        connections.close_all()
