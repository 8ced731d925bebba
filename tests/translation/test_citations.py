"""Citations: asked for, in the history, and those that platforms give unasked."""

import json

import pytest

from providers.translation.dialect import Dialect
from tests.translation import answers
from tests.translation.answers import STOP, chunk, message
from tests.translation.conversations import assistant, result, text, translate, use, user

CITED = {"citations": {"enabled": True}}
DOCUMENT = {
    "type": "document",
    "title": "Wolves",
    "source": {"type": "text", "media_type": "text/plain", "data": "FACT"},
}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
FOUND = {"type": "search_result", "title": "KB", "source": "https://kb/1", "content": [text("FACT")]}
LOCATION = {
    "type": "char_location",
    "cited_text": "quoted from the document",
    "document_index": 0,
    "start_char_index": 0,
    "end_char_index": 4,
}


@pytest.mark.parametrize("block", [DOCUMENT, FOUND, PDF])
@pytest.mark.parametrize("pdf", [False, True])
def test_a_source_to_be_cited_is_read_and_the_loss_is_noted(block, pdf):
    plain = translate(user(block, text("q")), dialect=Dialect(pdf=pdf))
    cited = translate(user({**block, **CITED}, text("q")), dialect=Dialect(pdf=pdf))
    assert cited.body == plain.body
    assert set(cited.dropped_fields) == {*plain.dropped_fields, "citations"}


def test_a_source_in_a_result_is_read_too():
    request = translate(user("q"), assistant(use("a")), user(result("a", [{**FOUND, **CITED}])))
    assert request.body["messages"][-1]["content"] == "KB\nhttps://kb/1\nFACT"
    assert request.dropped_fields == ["citations"]


@pytest.mark.parametrize("citations", [None, {}, {"enabled": False}, {"enabled": "yes"}, [], True])
def test_nothing_is_noted_where_nothing_was_asked(citations):
    assert translate(user({**DOCUMENT, "citations": citations})).dropped_fields == []


@pytest.mark.parametrize("dialect", [Dialect(), Dialect(cache_control=True)])
def test_citations_in_the_history_are_left_out(dialect):
    said = [text("Wolves howl.", citations=[LOCATION]), text(" They do.", citations=None)]
    body = translate(user("q"), assistant(*said), user("more"), dialect=dialect).body
    encoded = json.dumps(body)
    assert "Wolves howl." in encoded
    assert " They do." in encoded
    assert "citations" not in encoded
    assert LOCATION["cited_text"] not in encoded


@pytest.mark.parametrize("member", ["delta", "message"])
def test_annotations_of_an_answer_are_no_part_of_it(member):
    annotations = [
        {"type": "url_citation", "url_citation": {"url": "https://w", "title": "W", "start_index": 0, "end_index": 5}}
    ]
    answered = chunk({"content": "Wolves.", "annotations": annotations})
    if member == "message":
        answered["choices"][0]["message"] = answered["choices"][0].pop("delta")
    content = message([answered, chunk({"annotations": annotations}), STOP])["content"]
    assert content == [{"type": "text", "text": "Wolves."}]


def test_a_refusal_is_the_text_and_the_reason():
    refused = message([chunk({"refusal": "I can't "}), chunk({"refusal": "do that."}), STOP])
    assert refused["content"] == [{"type": "text", "text": "I can't do that."}]
    assert refused["stop_reason"] == "refusal"
    assert refused["stop_details"] == {"type": "refusal", "category": None, "explanation": "I can't do that."}
    assert answers.message([chunk({"content": "Hi.", "refusal": None}), STOP])["stop_reason"] == "end_turn"
