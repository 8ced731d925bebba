"""Images and documents on their way to Messages endpoints: as they are, fitted, or in words; never lost."""

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from providers import wire_json
from providers.clients import attachments
from providers.clients.base import UpstreamCall
from providers.clients.native_body import NativeBody, body_for
from providers.native_dialect import ROWS, native_dialect_for
from providers.presets import PRESETS, dialect_for
from providers.target import Target, Timeouts
from providers.translation.attachments import UNPREPARED
from tests.fakes.pdfs import text_pdf
from tests.fakes.recorded import messages_requests, recorded
from tests.providers.test_images import SMALL, animation, encoded, noise

MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
PDF_DATA = base64.b64encode(text_pdf("Revenue rose", "Costs fell")).decode()
EXTRACT = '<document{} pages="2">\n[page 1]\nRevenue rose\n[page 2]\nCosts fell\n</document>'
BLIND = "[image omitted: model has no vision]"
TAKE_DOCUMENTS = ("anthropic_compatible", "openrouter")
MARKING = ("anthropic_compatible", "openrouter", "dashscope", "kimi", "zhipu", "minimax")
SEEING = sorted(PRESETS.keys() - {"deepseek"})


def target(kind: str, model_id: str = "m", capabilities: frozenset[str] | None = None, **flags: Any) -> Target:
    return Target(
        provider_name="nat",
        kind=kind,
        wire_format="anthropic",
        base_url="https://relay.example",
        secrets=(),
        model_id=model_id,
        timeouts=Timeouts(1, 1, 1, 1),
        dialect=dialect_for(kind, flags, {}, capabilities, model_id=model_id),
        native=native_dialect_for(kind, flags, {}, model_id=model_id),
        capabilities=capabilities,
    )


def call(*blocks: dict[str, Any]) -> UpstreamCall:
    return raw_call({"model": "m", "messages": [{"role": "user", "content": list(blocks)}]})


def raw_call(body: dict[str, Any], raw: bytes = b"") -> UpstreamCall:
    return UpstreamCall(body, raw or json.dumps(body).encode(), True, "m", "msg_x", 1000)


def made(target: Target, asked: UpstreamCall) -> NativeBody:
    async def scenario() -> NativeBody:
        return body_for(target, asked, (await attachments.prepare(asked, target)).attachments)

    return asyncio.run(scenario())


def sent(target: Target, *blocks: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the blocks that go out in place of `blocks`, and what is noted as dropped."""
    found = made(target, call(*blocks))
    return json.loads(found.content)["messages"][0]["content"], found.dropped_fields


def document(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **more}


def pdf(data: str = PDF_DATA, **more: Any) -> dict[str, Any]:
    return document({"type": "base64", "media_type": "application/pdf", "data": data}, **more)


def image(data: str, media_type: str = "image/png", **more: Any) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}, **more}


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def result(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": list(blocks)}


PNG = encoded(SMALL, "PNG")


@pytest.mark.parametrize("kind", sorted(PRESETS))
def test_a_pdf_goes_as_it_is_or_as_its_text(kind: str) -> None:
    asked = pdf(title="Q3", citations={"enabled": True}, **MARK)
    blocks, dropped = sent(target(kind), text("read"), asked, result(pdf()))
    if kind in TAKE_DOCUMENTS:
        assert (blocks, dropped) == ([text("read"), asked, result(pdf())], [])
        return
    mark = MARK if kind in MARKING else {}
    assert blocks == [
        text("read"),
        text(EXTRACT.format(' title="Q3"'), **mark),
        result(text(EXTRACT.format(""))),
    ]
    assert dropped == ["citations", "block:document:layout"]


@pytest.mark.parametrize("kind", sorted(PRESETS))
@pytest.mark.parametrize("recording", ["main_pdf_tool_result", "main_image_tool_result"])
def test_of_what_claude_code_sends_the_file_alone_is_other(kind: str, recording: str) -> None:
    asked = raw_call(messages_requests()[recording], recorded()[recording].raw)
    goes_to = target(kind)
    found = made(goes_to, asked)
    [file] = [
        block for block in asked.body["messages"][-1]["content"][0]["content"] if block["type"] in ("document", "image")
    ]
    if file["type"] == "image":
        in_place = file if kind in SEEING else text(BLIND)
    elif kind in TAKE_DOCUMENTS:
        in_place = file
    else:
        in_place = json.loads(found.content)["messages"][-1]["content"][0]["content"][-1]
        assert in_place["type"] == "text"
        assert in_place["text"].startswith(('<document pages="', "[document omitted: "))
    raw = asked.raw.replace(wire_json.encode(file), wire_json.encode(in_place))
    assert (raw == asked.raw) is (in_place is file)
    same = body_for(goes_to, raw_call(json.loads(raw), raw))
    assert found.content == same.content
    assert any(name.startswith("block:") for name in found.dropped_fields) is (in_place is not file)
    if kind == "anthropic_compatible":
        assert found.content == asked.raw.replace(b'"model":"%b"' % asked.body["model"].encode(), b'"model":"m"')


URL_PDF = document({"type": "url", "url": "https://x.test/a.pdf"}, title="A")
FILE_PDF = document({"type": "file", "file_id": "file_1"})
TEXT = document({"type": "text", "media_type": "text/plain", "data": "inside"}, context="of note")
CONTENT = document({"type": "content", "content": [text("before"), image(PNG), pdf()]}, title="All", **MARK)
SEARCH = {"type": "search_result", "title": "T", "source": "https://x.test", "content": [text("found")]}
UPLOAD = {"type": "container_upload", "file_id": "file_2"}


@pytest.mark.parametrize(
    ("asked", "expected", "dropped"),
    [
        (URL_PDF, [text("[document not attached: A https://x.test/a.pdf]")], ["block:document"]),
        (FILE_PDF, [text("[document file_1 not available]")], ["block:document"]),
        (TEXT, [text("<document>\nof note\ninside\n</document>")], []),
        (
            CONTENT,
            [
                text('<document title="All">'),
                text("before"),
                image(PNG),
                text(EXTRACT.format("")),
                text("</document>", **MARK),
            ],
            ["block:document:layout"],
        ),
        (SEARCH, [text("T\nhttps://x.test\nfound")], []),
        (UPLOAD, [text("[uploaded file file_2 not available]")], []),
        (
            pdf("JVBERi0xLjQK", title="bad.pdf"),
            [
                text(
                    "[document omitted: bad.pdf, 1 KB; this model cannot read PDF files, and its text could not be"
                    " extracted: it is damaged]"
                )
            ],
            ["block:document"],
        ),
    ],
)
def test_other_sources_are_told_in_words(
    asked: dict[str, Any], expected: list[dict[str, Any]], dropped: list[str]
) -> None:
    assert sent(target("dashscope"), text("a"), asked, text("z")) == ([text("a"), *expected, text("z")], dropped)
    for kind in TAKE_DOCUMENTS:
        assert sent(target(kind), text("a"), asked, text("z")) == ([text("a"), asked, text("z")], [])


@pytest.mark.parametrize("kind", ["dashscope", "ollama", "openrouter", "minimax"])
def test_a_model_without_eyes_is_told_so(kind: str) -> None:
    blind = target(kind, capabilities=frozenset({"tools", "pdf"}))
    url = {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}
    blocks, dropped = sent(blind, image(PNG, **MARK), url, result(text("read"), image(PNG)))
    mark = MARK if kind in MARKING else {}
    assert blocks == [text(BLIND, **mark), text(BLIND), result(text("read"), text(BLIND))]
    assert dropped == ["block:image"]
    seeing = target(kind, capabilities=frozenset({"tools", "vision"}))
    assert sent(seeing, image(PNG)) == ([image(PNG)], [])


def test_the_dialect_of_a_model_says_whether_it_sees() -> None:
    for model_id, expected in (("glm-5.2", text(BLIND)), ("glm-4.6v", image(PNG))):
        assert sent(target("zhipu", model_id), image(PNG))[0] == [expected]
    assert sent(target("deepseek", vision=True), image(PNG))[0] == [image(PNG)]


def test_images_are_changed_only_beyond_a_platforms_limits() -> None:
    gif, webp = animation(), encoded(SMALL, "WEBP", lossless=True)
    large = encoded(noise(40, 30), "PNG")
    for kind, changed in (("ollama", True), ("dashscope", True), ("kimi", False), ("anthropic_compatible", False)):
        [one], dropped = sent(target(kind), image(gif, "image/gif", **MARK))
        assert one["source"]["media_type"] == ("image/png" if changed else "image/gif")
        assert ("cache_control" in one) is (kind in MARKING)
        assert dropped == (["block:image:frames"] if changed else [])
    assert sent(target("dashscope"), image(webp, "image/webp"))[0] == [image(webp, "image/webp")]
    [found], dropped = sent(target("dashscope", image_max_edge=20), result(image(large)))
    assert found["content"][0]["source"]["data"] not in (large, "")
    assert dropped == ["block:image:scaled"]
    oversize = image(PNG[:40] + "A" * 4000)
    [found], dropped = sent(target("dashscope", image_max_bytes=1000), oversize)
    assert found["text"].startswith("[image omitted: ")
    assert dropped == ["block:image"]


def test_images_inside_documents_are_fitted_where_documents_are_taken() -> None:
    asked = document({"type": "content", "content": [text("t"), image(animation(), "image/gif")]}, title="T")
    [found], dropped = sent(target("openrouter", image_gif=False), asked)
    assert found["source"]["content"][0] == text("t")
    assert found["source"]["content"][1]["source"]["media_type"] == "image/png"
    assert (found["title"], dropped) == ("T", ["block:image:frames"])


def test_where_the_other_wire_fetches_no_images_this_one_is_told_their_address() -> None:
    url = {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}
    for kind in ("ollama", "lmstudio", "kimi"):
        assert not PRESETS[kind].dialect.image_urls
        blocks, dropped = sent(target(kind), url)
        assert blocks == [text("[image not attached, the platform fetches none: https://x.test/a.png]")]
        assert dropped == ["block:image"]


def test_a_reminder_stays_behind_what_a_document_became() -> None:
    messages = [{"role": "user", "content": [CONTENT]}, {"role": "system", "content": "mind"}]
    found = json.loads(made(target("dashscope"), raw_call({"model": "m", "messages": messages})).content)
    [message] = found["messages"]
    assert message["content"][-2:] == [
        text("</document>", **MARK),
        text("<system-reminder>\nmind\n</system-reminder>"),
    ]
    assert len(message["content"]) == 6


def test_the_estimate_counts_the_text_that_goes_out() -> None:
    async def surplus(kind: str) -> int:
        return (await attachments.prepare(call(pdf()), target(kind))).surplus_tokens

    assert [asyncio.run(surplus(kind)) == 0 for kind in ("dashscope", *TAKE_DOCUMENTS)] == [False, True, True]


def test_a_target_takes_documents_by_its_row_and_its_model() -> None:
    able, unable = frozenset({"pdf"}), frozenset({"tools"})
    for kind, capabilities, flags, expected in (
        ("openrouter", None, {}, True),
        ("openrouter", able, {}, True),
        ("openrouter", unable, {}, False),
        ("dashscope", able, {}, False),
        ("dashscope", None, {"native_documents": True}, True),
        ("anthropic_compatible", unable, {}, True),
        ("anthropic_compatible", None, {"native_documents": False}, False),
    ):
        assert target(kind, capabilities=capabilities, **flags).takes_documents is expected, (kind, capabilities, flags)
    for kind in ROWS:
        openai = replace(target(kind), wire_format="openai")
        assert openai.takes_documents is openai.dialect.pdf


FILE_IMAGE = {"type": "image", "source": {"type": "file", "file_id": "file_3"}}
ALL_BUT_PDF = frozenset({"tools", "vision", "thinking"})


@pytest.mark.parametrize(
    ("fields", "asked", "expected"),
    [
        ({"capabilities": frozenset({"tools", "pdf"})}, image(PNG), text(BLIND)),
        ({"capabilities": ALL_BUT_PDF}, pdf(), text(EXTRACT.format(""))),
        ({"capabilities": ALL_BUT_PDF}, image(PNG), image(PNG)),
        ({"native_image_urls": True}, FILE_PDF, FILE_PDF),
        ({"native_betas": False}, FILE_PDF, text("[document file_1 not available]")),
        ({"native_betas": False}, FILE_IMAGE, text("[image file file_3 not available]")),
        ({"native_betas": False}, URL_PDF, URL_PDF),
    ],
)
def test_one_lack_is_enough(fields: dict[str, Any], asked: dict[str, Any], expected: dict[str, Any]) -> None:
    # Of the API this one lacks nothing else: all is decided by the one thing.
    goes_to = target("openrouter", "anthropic/claude-opus-5", **fields)
    assert sent(goes_to, asked)[0] == [expected]


def test_a_format_that_one_of_anthropics_models_elsewhere_does_not_take_is_converted() -> None:
    goes_to = target("openrouter", "anthropic/claude-opus-5")
    [found], _dropped = sent(goes_to, image(encoded(SMALL, "BMP"), "image/bmp"))
    assert found["source"]["media_type"] == "image/png"


def test_anthropics_own_api_judges_itself() -> None:
    asked = call(image(encoded(SMALL, "BMP"), "image/bmp"), pdf("JVBERi0xLjQK"), FILE_PDF, FILE_IMAGE, UPLOAD)
    for capabilities in (None, frozenset({"tools"})):
        goes_to = target("anthropic_compatible", capabilities=capabilities)
        prepared = asyncio.run(attachments.prepare(asked, goes_to))
        assert prepared.attachments is UNPREPARED
        found = body_for(goes_to, asked, prepared.attachments)
        assert found.content is asked.raw
        assert found.dropped_fields == []
