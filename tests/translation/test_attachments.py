"""What a model gets in place of the files that its platform does not take as they are."""

from typing import Any

import pytest

from providers.translation.attachments import Attachments, Extract, Rendition
from providers.translation.dialect import Dialect
from tests.translation.conversations import PNG, assistant, image, result, text, translate, use, user
from tests.translation.strict_openai import complaints

DATA = "JVBERi0="
READ = Extract(text="[page 1]\nRevenue", pages=1)
SCAN = Extract(pages=3, problem="no extractable text (scanned?)")
DATA_URI = f"data:image/png;base64,{PNG}"


def pdf(**members: Any) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA}, **members}


def prepared(extract: Extract | None = None, rendition: Rendition | None = None, **extra: Any) -> dict[str, Any]:
    extracts = {DATA: extract} if extract else {}
    return {"attachments": Attachments(extracts, {PNG: rendition} if rendition else {}), **extra}


@pytest.mark.parametrize(
    ("block", "extract", "expected", "dropped"),
    [
        (pdf(), READ, '<document pages="1">\n[page 1]\nRevenue\n</document>', "block:document:layout"),
        (
            pdf(title='The "Q3"', context="for the board"),
            READ,
            '<document title="The \'Q3\'" pages="1">\nfor the board\n[page 1]\nRevenue\n</document>',
            "block:document:layout",
        ),
        (
            pdf(title="q3.pdf"),
            SCAN,
            "[document omitted: q3.pdf, 1 KB, 3 pages; this model cannot read PDF files, and its text could not be"
            " extracted: no extractable text (scanned?)]",
            "block:document",
        ),
        (
            pdf(),
            Extract(problem="it is encrypted"),
            "[document omitted: document.pdf, 1 KB; this model cannot read PDF files, and its text could not be"
            " extracted: it is encrypted]",
            "block:document",
        ),
        (pdf(), None, "[document omitted: document.pdf, 1 KB; this model cannot read PDF files]", "block:document"),
    ],
)
def test_a_pdf_is_its_text_or_the_reason_why_not(
    block: dict[str, Any], extract: Extract | None, expected: str, dropped: str
) -> None:
    for messages, position in (
        ((user(text("q"), block),), -1),
        ((user("q"), assistant(use("a")), user(result("a", [text("q"), block]))), -1),
        ((user(text("q"), {"type": "document", "source": {"type": "content", "content": [block]}}),), -1),
    ):
        request = translate(*messages, option=prepared(extract))
        content = request.body["messages"][position]["content"]
        assert expected in content
        assert content.startswith("q\n")
        assert request.dropped_fields == [dropped]


def test_a_platform_that_takes_pdf_files_gets_the_file() -> None:
    request = translate(user(pdf()), dialect=Dialect(pdf=True), option=prepared(READ))
    assert request.body["messages"][0]["content"][0]["file"]["file_data"] == f"data:application/pdf;base64,{DATA}"
    assert request.dropped_fields == []


def test_the_text_of_a_pdf_keeps_the_cache_mark_of_its_block() -> None:
    mark = {"type": "ephemeral"}
    request = translate(user(pdf(cache_control=mark)), dialect=Dialect(cache_control=True), option=prepared(READ))
    assert request.body["messages"][0]["content"][0]["cache_control"] == mark


@pytest.mark.parametrize(
    ("rendition", "expected", "dropped"),
    [
        (Rendition("image/jpeg", "/9j/AA=="), "data:image/jpeg;base64,/9j/AA==", []),
        (Rendition("image/jpeg", "/9j/AA==", loss="scaled"), "data:image/jpeg;base64,/9j/AA==", ["block:image:scaled"]),
        (Rendition(problem="it is damaged"), "[image omitted: it is damaged]", ["block:image"]),
        (None, DATA_URI, []),
    ],
)
def test_an_image_is_its_rendition_or_the_reason_why_not(
    rendition: Rendition | None, expected: str, dropped: list[str]
) -> None:
    request = translate(user(image()), option=prepared(rendition=rendition))
    content = request.body["messages"][0]["content"]
    assert (content if isinstance(content, str) else content[0]["image_url"]["url"]) == expected
    assert request.dropped_fields == dropped


def test_an_image_by_url_is_named_where_the_platform_fetches_none() -> None:
    url = "https://e.invalid/a.png"
    request = translate(user(image(type="url", url=url)), dialect=Dialect(image_urls=False))
    assert request.body["messages"][0]["content"] == f"[image not attached, the platform fetches none: {url}]"
    assert request.dropped_fields == ["block:image"]


def test_of_many_images_the_newest_go_out() -> None:
    shots = [{"type": "base64", "media_type": "image/png", "data": f"iVBORw0KGgo{number}"} for number in range(4)]
    messages = (
        user(image(**shots[0]), image(**shots[1])),
        assistant(use("a")),
        user(result("a", [text("shot"), image(**shots[2])]), image(**shots[3])),
    )
    request = translate(*messages, dialect=Dialect(images_max=2))
    sent = request.body["messages"]
    assert complaints(request.body) == []
    assert [part["text"] for part in sent[0]["content"]] == ["[image omitted: the platform takes 2 per request]"] * 2
    urls = [part["image_url"]["url"][-1] for part in sent[-1]["content"] if part["type"] == "image_url"]
    assert urls == ["2", "3"]
    assert request.dropped_fields == ["block:image"]
    assert translate(*messages, dialect=Dialect(images_max=4)).dropped_fields == []
