"""Arguments to inputs: at once, in pieces, and held back."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.translation.arguments import RAW_KEY, Arguments, parse
from providers.translation.json_repair import ObjectScanner

KEYS = {"path", "n"}
RAW = object()  # goes to the client as it came, for its schema check to report

TABLE: list[tuple[str, Any]] = [
    ('{"path":"1"}', {"path": "1"}),
    ('  {"path" : "1" }\n', {"path": "1"}),
    ('{"path":"1","path":"2"}', {"path": "2"}),
    ('{"n":123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
    ('{"other":1}', {"other": 1}),
    ("", {}),
    (" ", {}),
    ("{}", {}),
    ("null", {}),
    ("[]", {}),
    ('""', {}),
    ('"{}"', {}),
    ('"{\\"path\\":\\"1\\"}"', {"path": "1"}),
    ('"{\\"path\\":\\"1\\",}"', {"path": "1"}),
    ('```json\n{"path":"1"}\n```', {"path": "1"}),
    ('```\n{"path":"1",}```', {"path": "1"}),
    ('{"path":"1",}', {"path": "1"}),
    ('{"n":[1,2,],"path":"1"}', {"n": [1, 2], "path": "1"}),
    ("{'path': 'it\\'s', 'n': \"x\"}", {"path": "it's", "n": "x"}),
    ("{'path': 'say \"hi\"'}", {"path": 'say "hi"'}),
    ('{"n":True,"path":None}', {"n": True, "path": None}),
    ('{"n":[False,NaN]}', {"n": [False, None]}),
    ('{"path":"a\nb\tc"}', {"path": "a\nb\tc"}),
    ('{"path":"C:\\dir\\x"}', {"path": "C:\\dir\\x"}),
    ('{"path":"\\ud83d!"}', {"path": "\ufffd!"}),
    ('{"path":"\\ud83d\\ude42"}', {"path": "🙂"}),
    ('{path:"1"}', {"path": "1"}),
    ('{"path":"1"', {"path": "1"}),
    ('{"n":[{"a":1', {"n": [{"a": 1}]}),
    ('{"n":12', {"n": 12}),
    ('{"n":1,', {"n": 1}),
    ('{"path":"1"}}', {"path": "1"}),
    ('{"path":"1"}```', {"path": "1"}),
    ("not json", RAW),
    ("[1]", RAW),
    ("7", RAW),
    ('"text"', RAW),
    ('{"path":"1', RAW),
    ('{"path":', RAW),
    ('{"path"', RAW),
    ('{"n":tru', RAW),
    ('{"path": nope}', RAW),
    ('{"path":"echo "hi""}', RAW),
    ('{"path":"1" "n":2}', RAW),
    ('{"n":[1,2}', RAW),
    ('{"n":{"a":[1,{"b":}]}}', RAW),
    ('{"n":01}', RAW),
    ("{not json}", RAW),
    ('{"n":' + "[" * 300, RAW),
]


def whole(pieces: list[str], *, streamed: bool, is_truncated: bool = False) -> str | None:
    arguments = Arguments()
    sent = ""
    for piece in pieces:
        arguments.feed(piece)
        if streamed:
            sent += arguments.take()
    rest = arguments.finish(is_truncated=is_truncated, allowed_keys=KEYS)
    return sent + rest if rest is not None else None


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[text[:30] for text, _ in TABLE])
def test_arguments_become_an_object_however_they_are_cut(text: str, expected: Any, streamed: bool) -> None:
    for size in (1, 2, 3, 1000):
        found = whole([text[at : at + size] for at in range(0, len(text), size)], streamed=streamed)
        assert found is not None
        value = json.loads(found)
        if expected is RAW:
            # What had left before the fault showed is taken back by null.
            assert value.pop(RAW_KEY) == text
            assert set(value.values()) <= {None}
            assert streamed or not value
        else:
            assert value == expected


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[text[:30] for text, _ in TABLE])
def test_parse_agrees(text: str, expected: Any) -> None:
    if text.strip().startswith("{") or expected is RAW:
        return  # the scanner's part
    assert parse(text, KEYS) == expected


def test_repaired_object_with_foreign_keys_is_not_believed() -> None:
    assert json.loads(whole(['{"bad":1,}'], streamed=False) or "") == {RAW_KEY: '{"bad":1,}'}
    assert json.loads(whole(['{"bad":1'], streamed=True) or "") == {"bad": None, RAW_KEY: '{"bad":1'}
    assert json.loads(whole(['"{\\"bad\\":1,}"'], streamed=True) or "") == {RAW_KEY: '"{\\"bad\\":1,}"'}
    assert json.loads(whole(['{"bad":1}'], streamed=True) or "") == {"bad": 1}


@pytest.mark.parametrize(
    ("pieces", "streamed", "expected"),
    [
        (['{"path":"1"}'], True, '{"path":"1"}'),
        (['{"path":"1"}'], False, '{"path":"1"}'),
        (['{"path":"/a","con'], True, '{"path":"/a","con'),
        (['{"path":"/a","con'], False, None),
        (["not js"], True, None),
        ([], True, None),
        (["null"], True, "{}"),
    ],
)
def test_cut_off_arguments_are_not_completed(pieces: list[str], streamed: bool, expected: str | None) -> None:
    assert whole(pieces, streamed=streamed, is_truncated=True) == expected


def test_fragments_leave_as_they_come() -> None:
    arguments = Arguments()
    sent = []
    for piece in ['{"pa', 'th": "so', "me text", '", "n": 1', "2, ", "}"]:
        arguments.feed(piece)
        sent.append(arguments.take())
    assert sent == ['{"pa', 'th": "so', "me text", '", "n": ', "12", "}"]


def test_whole_call_in_one_piece_passes_verbatim_and_a_second_one_is_seen() -> None:
    text = json.dumps({"path": "a\nb" * 200})
    assert whole([text], streamed=True) == whole([text], streamed=False) == text
    arguments = Arguments()
    arguments.feed(text)
    arguments.feed(text)
    assert arguments.overflow == text
    broken = text[:-1] + ",}"
    assert json.loads(whole([broken], streamed=True) or "") == json.loads(text)


def test_second_object_is_kept_apart() -> None:
    arguments = Arguments()
    arguments.feed('{"n":1} ')
    arguments.feed(', {"n":2}{"n"')
    assert arguments.overflow == '{"n":2}{"n"'
    assert arguments.take() + (arguments.finish(is_truncated=False, allowed_keys=None) or "") == '{"n":1}'


@pytest.mark.parametrize(("text", "expected"), [('{"n":2}', '{"n":2}'), ("{}", None), ('{"n":', None), ("{x", None)])
def test_leftover_is_a_call_only_if_complete(text: str, expected: str | None) -> None:
    arguments = Arguments(is_leftover=True)
    arguments.feed(text)
    assert arguments.take() == ""
    assert arguments.finish(is_truncated=False, allowed_keys=None) == expected


def test_objects_are_cumulative_and_text_that_left_wins() -> None:
    arguments = Arguments()
    arguments.feed("")
    arguments.put({"n": 1})
    arguments.put({"n": 2})
    assert arguments.is_complete
    assert arguments.finish(is_truncated=False, allowed_keys=None) == '{"n": 2}'
    streamed = Arguments()
    streamed.feed('{"n":1}')
    sent = streamed.take()
    streamed.put({"n": 2})
    assert sent + (streamed.finish(is_truncated=False, allowed_keys=None) or "") == '{"n":1}'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=4), st.booleans(), st.sampled_from([None, 1]), st.integers(1, 9))
def test_valid_objects_pass_verbatim(value: dict[str, Any], ascii_only: bool, indent: int | None, size: int) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    scanner = ObjectScanner()
    sent = "".join(scanner.feed(text[at : at + size]) for at in range(0, len(text), size))
    assert scanner.is_complete
    assert not scanner.is_repaired
    assert sent == (text if value else "")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"{}[]:,\"'\\ \n", "true", "True", "1", "-", '"a"', '"a":', "\\u", "\\ud83d", "\x00", "b"]),
        max_size=14,
    ),
    st.booleans(),
    st.booleans(),
)
def test_anything_becomes_an_object(pieces: list[str], streamed: bool, opens: bool) -> None:
    found = whole(["{", *pieces] if opens else pieces, streamed=streamed)
    assert found is not None
    assert isinstance(json.loads(found), dict)
