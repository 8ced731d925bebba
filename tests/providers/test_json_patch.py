"""Changes of a JSON text that leave every other byte as it is."""

import json
from typing import Any

import pytest

from providers.json_patch import DROP, KEEP, Patch, Several, _with_members, apply


@pytest.mark.parametrize(
    ("raw", "patch", "expected"),
    [
        ('{"model":"a"}', Patch(model="b"), '{"model":"b"}'),
        (' {"x":{"model":"a"},"model":\t"a" } ', Patch(model="b"), ' {"x":{"model":"a"},"model":\t"b" } '),
        ('{"mod\\u0065l":"a","n":1.0}', Patch(model="b"), '{"mod\\u0065l":"b","n":1.0}'),
        ('{"model":"a\\"}","z":2}', Patch(model="b"), '{"model":"b","z":2}'),
        # of repeated members the last counts: one is left, at the place of the first
        ('{"model":"a","z":1,"model":"c"}', Patch(model="b"), '{"model":"b","z":1}'),
        ('{"z":[1],"z":[2,3]}', Patch(z=Patch({0: DROP})), '{"z":[3]}'),
        ('{"z":1,"z":2}', Patch(z=DROP), "{}"),
        ('{"z":1}', Patch(model="b"), '{"z":1,"model":"b"}'),
        ("{}", Patch(model="b"), '{"model":"b"}'),
        ("{ }", Patch(gone=DROP), "{ }"),
        ('{"a" : 1 , "b" : 2 }', Patch(a=DROP), '{ "b" : 2 }'),
        ('{"n":123456789012345678901234567890,"m":[1.50, 2]}', Patch(m=Patch({1: 9})), '{"n":123456789012345678901234567890,"m":[1.50, 9]}'),
        ('{"m":[ {"a":1} , 2 ]}', Patch(m=Patch({0: Patch(a=DROP, b="世")})), '{"m":[ {"b":"世"} , 2 ]}'),
        ('{"m":[1,2]}', Patch(m=Patch({1: Several([KEEP, 3])})), '{"m":[1,2,3]}'),
        ('{"m":[1,2]}', Patch(m=Patch({0: Several([0, KEEP])})), '{"m":[0,1,2]}'),
        ('{"m":[{"a":1,"b":2}]}', Patch(m=Patch({0: Several([0, Patch(a=DROP)])})), '{"m":[0,{"b":2}]}'),
        ('{"m":"\\ud800 世 \\u00fc","x":1}', Patch(x=2), '{"m":"\\ud800 世 \\u00fc","x":2}'),
    ],
)  # fmt: skip
def test_only_the_named_parts_change(raw: str, patch: Patch, expected: str) -> None:
    assert apply(raw.encode(), patch).decode() == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('{"model":"a","z":[{"x":1}]}', '{"model":"b","z":[{"x":1}]}'),
        (' {\n "model" : "a" , "z":1 } ', ' {\n "model" : "b" , "z":1 } '),
        ('{"z":{"y":1},"model":"a"}', '{"z":{"y":1},"model":"b"}'),
        ('{"model":"a\\\\\\"","z":1}', '{"model":"b","z":1}'),
        # the same name elsewhere: in a schema, as a value, in the input of a call, in a text
        ('{"model":"a","z":{"model":{"type":"string"},"enum":["model"]}}', '{"model":"b","z":{"model":{"type":"string"},"enum":["model"]}}'),
        ('{"model":"a","z":{"model":"c"}}', '{"model":"b","z":{"model":"c"}}'),
        ('{"z":"\\"model\\":\\"c\\" and \\"model","model":"a"}', '{"z":"\\"model\\":\\"c\\" and \\"model","model":"b"}'),
        ('{"x\\"model":"c","model":"a"}', '{"x\\"model":"c","model":"b"}'),
    ],
)  # fmt: skip
def test_the_name_of_the_model_is_changed_without_a_parser(raw: str, expected: str) -> None:
    assert _with_members(raw.encode(), Patch(model="b")) == expected.encode()
    assert apply(raw.encode(), Patch(model="b")).decode() == expected


def test_a_member_is_added_without_a_parser() -> None:
    patch = Patch(model="b", options={"x": True})
    assert _with_members(b' {"model":"a" } ', patch) == b' {"model":"b" ,"options":{"x":true}} '
    assert _with_members(b'{"model":"a","z":{"options":1}}', patch) is None
    assert apply(b'{"model":"a","z":{"options":1}}', patch) == b'{"model":"b","z":{"options":1},"options":{"x":true}}'


@pytest.mark.parametrize(
    "raw",
    [
        '{"z":{"model":"a"},"n":1}',  # another object's
        '{"z":{"model":"c"},"model":"a"}',
        '{"model":"c","z":1,"model":"a"}',  # twice: a server may take either
        '{"model":"c","mod\\u0065l":"a"}',
        '{"model":{"x":1},"model":"a"}',
        '{"model":17}',
        "{}",
        " { } ",
    ],
)
def test_what_takes_a_parser_is_left_to_it(raw: str) -> None:
    assert _with_members(raw.encode(), Patch(model="b")) is None
    assert json.loads(apply(raw.encode(), Patch(model="b")))["model"] == "b"


def test_bytes_that_are_no_utf8_survive() -> None:
    assert apply(b'{"a":"\xff","b":1}', Patch(b=2)) == b'{"a":"\xff","b":2}'


def test_what_is_nested_too_deeply_is_an_error() -> None:
    with pytest.raises(ValueError, match="deeply"):
        apply(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"b":1}', Patch(b=2))


def test_every_change_equals_that_of_the_decoded_document() -> None:
    document: dict[str, Any] = {"a": {"b": [1, {"c": "x"}, 3]}, "d": 'é\n"', "e": None, "f": [[], {}]}
    changed = json.loads(json.dumps(document))
    changed["a"]["b"][1]["c"] = "y"
    del changed["a"]["b"][0], changed["e"]
    patch = Patch(a=Patch(b=Patch({0: DROP, 1: Patch(c="y")})), e=DROP)
    for separators in ((",", ":"), (" , ", " : ")):
        for ascii_only in (True, False):
            text = json.dumps(document, separators=separators, ensure_ascii=ascii_only, indent=1)
            found = apply(text.encode(), patch)
            assert json.loads(found) == changed
