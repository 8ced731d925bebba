"""Files of a call are prepared off the event loop, once, and only for targets that need it."""

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from providers import documents
from providers.clients import attachments
from providers.clients.attachments import Cache, Prepared, prepare
from providers.clients.base import UpstreamCall
from providers.target import Target
from providers.translation import tokens
from providers.translation.attachments import UNPREPARED
from providers.translation.dialect import Dialect
from tests.accounts.books import target
from tests.fakes.pdfs import text_pdf
from tests.providers.test_images import SMALL, animation, encoded
from tests.translation.conversations import image, request_body, result, text, user

BLIND = target(capabilities=frozenset({"tools"}))
SEEING = target()
NO_GIF = replace(SEEING, dialect=Dialect(image_gif=False))


def pdf(data: str) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}


def document(*pages: str) -> str:
    return base64.b64encode(text_pdf(*pages)).decode()


def png() -> str:
    return encoded(SMALL, "PNG")


def call(*content: Any) -> UpstreamCall:
    body = request_body(user(*content))
    return UpstreamCall(body, json.dumps(body).encode(), True, "any", "msg_1", 1000)


def prepared(asked: UpstreamCall, target: Target = SEEING) -> Prepared:
    return asyncio.run(prepare(asked, target))


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        (call("hi"), BLIND),
        (call(text('a "document" and an "image"')), BLIND),
        (call(pdf(document("x"))), replace(SEEING, dialect=Dialect(pdf=True))),
        (call({"type": "document", "source": {"type": "url", "url": "https://e.invalid/a.pdf"}}), SEEING),
        (call({"type": "document", "source": {"type": "text", "data": "t"}}), SEEING),
        (call(image(type="base64", data=png())), SEEING),
        (call(image(type="base64", data=animation())), SEEING),
        (call(image(type="base64", data=animation())), BLIND),
        (call(image(type="url", url="https://e.invalid/a.gif")), NO_GIF),
    ],
)
def test_what_the_target_takes_or_never_sees_is_left_alone(asked: UpstreamCall, target: Target) -> None:
    assert prepared(asked, target).attachments is UNPREPARED


def test_documents_and_images_are_found_wherever_they_are() -> None:
    pages = [document(name) for name in ("user", "result", "single", "inner")]
    gif = animation()
    asked = call(
        pdf(pages[0]),
        result("a", [text("t"), pdf(pages[1]), image(type="base64", data=gif)]),
        result("b", pdf(pages[2])),
        {"type": "document", "source": {"type": "content", "content": [pdf(pages[3])]}},
    )
    found = prepared(asked, NO_GIF).attachments
    assert {data: extract.text for data, extract in found.extracts.items()} == {
        data: f"[page 1]\n{name}" for data, name in zip(pages, ("user", "result", "single", "inner"), strict=True)
    }
    assert [(data, made.media_type, made.loss) for data, made in found.renditions.items()] == [
        (gif, "image/png", "frames")
    ]


def test_a_data_uri_in_place_of_base64_is_understood() -> None:
    data = f"data:application/pdf;base64,{document('inside')}"
    assert prepared(call(pdf(data))).attachments.extracts[data].text == "[page 1]\ninside"
    gif = f"data:image/gif;base64,{encoded(SMALL, 'GIF')}"
    assert prepared(call(image(type="base64", data=gif)), NO_GIF).attachments.renditions[gif].media_type == "image/png"


def test_a_file_that_is_no_file_gives_a_reason() -> None:
    found = prepared(call(pdf("AAA"), pdf("\ud800"), image(type="base64", data="%%%"))).attachments
    assert [extract.problem for extract in found.extracts.values()] == ["it is not base64"] * 2
    assert [made.problem for made in found.renditions.values()] == [
        "it is damaged, or in a format that cannot be converted"
    ]


def test_a_file_is_read_once_in_a_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(call(pdf(document("kept"))))
    monkeypatch.setattr(documents, "_PROGRAM", "/nonexistent/program.py")
    again = prepared(call("more", pdf(document("kept")), pdf(document("other"))))
    kept, other = again.attachments.extracts.values()
    assert kept == first.attachments.extracts[document("kept")]
    assert kept.text == "[page 1]\nkept"
    assert other.problem == "it is damaged"


def test_what_is_made_of_an_image_depends_on_the_platform() -> None:
    gif = encoded(SMALL, "GIF")
    asked = call(image(type="base64", data=gif))
    tiny = replace(SEEING, dialect=Dialect(image_gif=False, image_max_edge=5))
    sizes = [prepared(asked, each).attachments.renditions[gif].loss for each in (NO_GIF, tiny, NO_GIF)]
    assert sizes == ["", "scaled", ""]


def test_the_text_weighs_what_it_has_and_not_what_its_pages_would() -> None:
    data = document("short")
    found = prepared(call(pdf(data)))
    counted = tokens.rough_estimate(request_body(user(pdf(data)))) + found.surplus_tokens
    written = tokens.rough_estimate(request_body(user(found.attachments.extracts[data].text)))
    assert abs(counted - written) <= 2


def test_other_calls_go_on_while_a_file_is_read() -> None:
    async def scenario() -> int:
        task = asyncio.create_task(prepare(call(pdf(document("while others go on"))), SEEING))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        assert task.result().attachments.extracts
        return turns

    assert asyncio.run(scenario()) > 100


def test_a_call_does_not_wait_for_ever_and_the_next_turn_has_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = call(pdf(document("late")))
    monkeypatch.setattr(attachments, "PATIENCE_S", 0.001)
    [extract] = prepared(asked).attachments.extracts.values()
    assert extract.problem == "the gateway could not read it now"
    monkeypatch.undo()
    [extract] = prepared(asked).attachments.extracts.values()
    assert extract.text == "[page 1]\nlate"


def test_a_client_that_leaves_is_not_waited_for() -> None:
    data = document("left alone")

    async def scenario() -> None:
        task = asyncio.create_task(prepare(call(pdf(data)), SEEING))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Its process has not even started; what it will find is for the next call.
        assert attachments._cache.get(attachments._key(data, "document")) is None

    asyncio.run(scenario())


def test_a_process_that_cannot_be_started_is_logged_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(documents.sys, "executable", "/nonexistent/python")
    [extract] = prepared(call(pdf(document("unlucky")))).attachments.extracts.values()
    assert extract.problem == "the gateway could not read it now"
    assert "a file could not be prepared" in caplog.text
    monkeypatch.undo()
    [extract] = prepared(call(pdf(document("unlucky")))).attachments.extracts.values()
    assert extract.text == "[page 1]\nunlucky"


def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    cache = Cache(100)
    cache.put(b"a", "A", 40)
    cache.put(b"b", "B", 40)
    assert cache.get(b"a") == "A"
    cache.put(b"c", "C", 40)
    assert [cache.get(key) for key in (b"a", b"b", b"c")] == ["A", None, "C"]
    cache.put(b"a", "A2", 60)
    assert [cache.get(key) for key in (b"a", b"c")] == ["A2", "C"]
    cache.put(b"d", "too large", 101)
    assert [cache.get(key) for key in (b"a", b"c", b"d")] == [None, None, None]
    cache.put(b"e", "E", 100)
    assert cache.get(b"e") == "E"
