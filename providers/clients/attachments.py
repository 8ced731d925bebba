"""Prepares the images and PDF files of a call for a target that does not take them as they are.

Claude Code sends a file again with every turn: what was made of it is kept, by content, as long as memory allows, so
the prompt also stays the same and prompt caches hold.
"""

import asyncio
import base64
import binascii
import hashlib
import logging
import sys
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, TypeVar

from providers import documents, images
from providers.clients.base import UpstreamCall
from providers.target import Target
from providers.translation import tokens
from providers.translation.attachments import UNPREPARED, Attachments, Extract, Rendition, files_of

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# A call waits this long for its files. What is not ready by then is left out with a text that says so, and is ready
# on the next turn.
PATIENCE_S = 30.0
_CACHE_BYTES = 64 * 1024 * 1024
_FAILED = "the gateway could not read it now"

# Threads of their own: in those of the event loop, name look-ups and estimates would wait behind files.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="attachments")


class Cache:
    """Results by key, the most recently used ones up to `max_bytes`. For several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: bytes) -> Any:
        """Return the result for `key`, or None."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            self._kept.move_to_end(key)
            return kept[0]

    def put(self, key: bytes, result: Any, size_bytes: int) -> None:
        """Keep a result; the least recently used ones make room."""
        with self._lock:
            _old, old_bytes = self._kept.pop(key, (None, 0))
            self._kept[key] = (result, size_bytes)
            self._bytes += size_bytes - old_bytes
            while self._bytes > self._max_bytes and self._kept:
                _key, (_result, freed) = self._kept.popitem(last=False)
                self._bytes -= freed


_cache = Cache(_CACHE_BYTES)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The attachments, and by how many tokens they outweigh what the estimate counts for the files themselves."""

    attachments: Attachments = UNPREPARED
    surplus_tokens: int = 0

    def counted_in(self, call: UpstreamCall) -> UpstreamCall:
        """Return the call with an estimate of what goes out."""
        if not self.surplus_tokens:
            return call
        return replace(call, input_tokens_estimate=max(1, call.input_tokens_estimate + self.surplus_tokens))


_NOTHING = Prepared()


async def prepare(call: UpstreamCall, target: Target) -> Prepared:
    """Return what `target` takes in place of the call's files. Never raises for a bad file; waits `PATIENCE_S`."""
    if target.wire_format == "anthropic" and target.native.is_anthropic:
        return _NOTHING
    # The walk takes microseconds; looking for the words in the raw body first takes longer.
    takes_text, takes_images = not target.takes_documents, target.can("vision")
    loop = asyncio.get_running_loop()
    limits = images.ImageLimits.of(target.dialect)
    extracts: dict[str, asyncio.Future[Extract]] = {}
    renditions: dict[str, asyncio.Future[Rendition]] = {}
    for kind, data in files_of(call.body):
        if kind == "document" and takes_text and data not in extracts:
            extracts[data] = loop.run_in_executor(_threads, _extract, data)
        elif kind == "image" and takes_images and not limits.allow(_payload(data)) and data not in renditions:
            renditions[data] = loop.run_in_executor(_threads, _fit, data, limits)
    waiting: tuple[asyncio.Future[Any], ...] = (*extracts.values(), *renditions.values())
    if not waiting:
        return _NOTHING
    try:
        await asyncio.wait(waiting, timeout=PATIENCE_S)
        attachments = Attachments(
            {data: _result_of(future) or Extract(problem=_FAILED) for data, future in extracts.items()},
            {data: _result_of(future) or Rendition(problem=_FAILED) for data, future in renditions.items()},
        )
    finally:
        for future in waiting:
            future.cancel()  # those that have not begun; the others end by their own limits, and are kept
    surplus = sum(tokens.extract_surplus(data, extract.text) for data, extract in attachments.extracts.items())
    return Prepared(attachments, surplus)


def _result_of(future: "asyncio.Future[_Result]") -> _Result | None:
    """Return what was made of a file; None when it is not ready, or could not be made, which is our fault."""
    if not future.done():
        logger.warning("a file was not ready after %s s", PATIENCE_S)
        return None
    error = future.exception()
    if error is not None:
        logger.error("a file could not be prepared", exc_info=error)
        return None
    return future.result()


def _payload(data: str) -> str:
    """Return the base64 text of what may be a data URI."""
    return data.partition(",")[2] if data.startswith("data:") else data


def _extract(data: str) -> Extract:
    def make() -> tuple[Extract, int]:
        try:
            extract = documents.extract(base64.b64decode(_payload(data)))
        except (binascii.Error, ValueError):
            extract = Extract(problem="it is not base64")
        return extract, sys.getsizeof(extract.text)

    return _cached(_key(data, "document"), make)


def _fit(data: str, limits: images.ImageLimits) -> Rendition:
    def make() -> tuple[Rendition, int]:
        rendition = images.fit(_payload(data), limits)
        return rendition, sys.getsizeof(rendition.data)

    return _cached(_key(data, repr(limits)), make)


def _cached(key: bytes, make: Callable[[], tuple[_Result, int]]) -> _Result:
    found: _Result | None = _cache.get(key)
    if found is None:
        found, size_bytes = make()
        _cache.put(key, found, size_bytes + 500)
    return found


def _key(data: str, purpose: str) -> bytes:
    # Users share the cache, so a key must not be forgeable.
    return hashlib.sha256(f"{purpose}\n{data}".encode("utf-8", "surrogatepass")).digest()
