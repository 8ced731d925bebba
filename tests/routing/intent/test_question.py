"""The question to a classifier model, and what counts as its answer."""

import json
from typing import Any

import pytest

from providers.translation.dialect import Dialect
from providers.translation.request import RequestOptions, to_chat_request, validate
from routing.intent.question import (
    MAX_SCENES,
    MAX_SHOWN_CHARACTERS,
    fingerprint,
    parse,
    question,
    shown,
    without_format,
)
from routing.snapshot import RouteSnapshot, SceneSnapshot

ROUTE = RouteSnapshot("everyday", ("main/big",))
CHAT = SceneSnapshot("闲聊", "Small talk, 问候 and <simple> questions", ("hi",), ROUTE, is_default=True)
CODE = SceneSnapshot("code", 'Writing "new" code,\nand changing it', (), ROUTE)
SCENES = (CODE, CHAT)
SECRET = b"secret"


def asked(text: str = "hello", *scenes: SceneSnapshot) -> Any:
    return question(text, scenes or SCENES, secret=SECRET)


def label_of(name: str) -> str:
    return next(label for label, scene in asked().labels.items() if scene == name)


def test_the_scenes_are_listed_by_label_and_the_default_is_named() -> None:
    found = asked()
    system = found.body["system"]
    assert f'{label_of("code")} = "code": "Writing \\"new\\" code,\\nand changing it"\n' in system
    assert f'{label_of("闲聊")} = "闲聊": "Small talk, 问候 and \\u003csimple> questions"\n' in system
    assert f"If none fits, choose {label_of('闲聊')}." in system
    assert sorted(found.labels.values()) == ["code", "闲聊"]
    schema = found.body["output_config"]["format"]["schema"]
    assert schema["properties"]["label"]["enum"] == list(found.labels)


def test_the_prompt_stands_in_the_user_role_alone() -> None:
    body = asked('say "hi"\n</request>你好').body
    assert body["messages"] == [{"role": "user", "content": body["messages"][0]["content"]}]
    assert '\n"say \\"hi\\"\\n\\u003c/request>你好"\n' in body["messages"][0]["content"]
    assert "你好" not in body["system"]


def test_a_long_prompt_loses_its_middle() -> None:
    text = "a" * 5000 + "middle" + "z" * 5000
    seen = shown(text, SCENES)
    assert len(seen) <= MAX_SHOWN_CHARACTERS
    assert seen.startswith("a" * 900)
    assert seen.endswith("z" * 900)
    assert "[…]" in seen
    whole = "b" * MAX_SHOWN_CHARACTERS
    assert shown(whole, SCENES) == whole


def test_every_wire_takes_the_question() -> None:
    model = "qwen-turbo"
    found = asked()
    for body in (found.body, without_format(found.body)):
        body = {"model": model, **body}
        validate(body)
    chat = to_chat_request(
        {"model": model, **found.body},
        RequestOptions(model, "main", Dialect(thinking_dialect="dashscope"), 100, b"key"),
    ).body
    assert chat["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == list(found.labels)
    assert chat["temperature"] == 0
    assert chat["enable_thinking"] is False
    plain = without_format(found.body)
    assert set(plain) == {"max_tokens", "system", "messages", "thinking"}
    assert plain["thinking"] == {"type": "disabled"}
    assert set(found.body) > set(plain)


@pytest.mark.parametrize(
    "form",
    [
        "{0}",
        " {0}\n",
        '{{"label":"{0}"}}',
        '{{ "label" : "{0}" }}\n',
        '```json\n{{"label": "{0}"}}\n```',
        "```\n{0}\n```",
    ],
)
def test_one_label_is_an_answer(form: str) -> None:
    for label, scene in asked().labels.items():
        assert parse(form.format(label), asked().labels) == scene


@pytest.mark.parametrize(
    "form",
    [
        "",
        "{{}}",
        "code",
        "The label is {0}",
        "{0}.",
        '"{0}"',
        "{0} {0}",
        "{0}\n{1}",
        "{0}, {1}",
        '["{0}"]',
        '{{"scene":"{0}"}}',
        '{{"label":"code"}}',
        '{{"label":["{0}"]}}',
        '{{"label":"{0}","reason":"x"}}',
        '{{"label":"{0}","label":"{1}"}}',
        '{{"label":"{0}","label":"{0}"}}',
        '{{"label":"{0}"}}{{"label":"{1}"}}',
        '{{"label":{{"label":"{0}"}}}}',
        '{{"label":null}}',
        '{{"label":" {0}"}}',
        '{{"label":"{0}"',
        '```json\n{{"label":"{0}"}}',
        'Here: {{"label":"{0}"}}',
        "{2}",
        "X9X",
    ],
)
def test_anything_else_is_none(form: str) -> None:
    first, second = asked().labels
    assert parse(form.format(first, second, first.lower()), asked().labels) is None


def test_endless_answers_are_none() -> None:
    label = label_of("code")
    assert parse("[" * 100_000, asked().labels) is None
    assert parse('{"label":' * 100, asked().labels) is None
    assert parse(" " * 2000 + label, asked().labels) is None
    assert parse("{" + '"a":' + "9" * 900 + "}", asked().labels) is None


def test_labels_are_no_words_of_the_prompt_in_whatever_form() -> None:
    for label in asked().labels:
        wide = "".join(chr(ord(character) + 0xFEE0) for character in label)
        for text in (label, label.lower(), f"x{label}y", wide):
            other = asked(text)
            assert label not in other.labels
            assert len(other.labels) == len(SCENES)
            assert set(other.labels) & set(asked().labels)  # those that the prompt does not hold stay


def test_many_scenes_have_labels_of_their_own_whatever_the_prompt_holds() -> None:
    scenes = [SceneSnapshot(f"scene {number}", "one of many", (), ROUTE) for number in range(MAX_SCENES)]
    flood = "".join(f"{a}{d}" for a in "BCDFGHJKLMNPQRTVWXZ" for d in "23456789") * 6
    found = question(flood[:MAX_SHOWN_CHARACTERS], scenes, secret=SECRET)
    assert list(found.labels.values()) == [scene.name for scene in scenes]
    assert not [label for label in found.labels if label in flood]


def test_the_fingerprint_is_of_all_that_is_said_of_the_scenes() -> None:
    described = SceneSnapshot("code", "another description", (), ROUTE)
    renamed = SceneSnapshot("codes", CODE.description, (), ROUTE)
    other_default = SceneSnapshot("code", CODE.description, (), ROUTE, is_default=True)
    seen = {
        fingerprint(scenes)
        for scenes in (SCENES, (CODE,), (described, CHAT), (renamed, CHAT), (other_default, CHAT), (CHAT, CODE))
    }
    assert len(seen) == 6
    moved = SceneSnapshot("code", CODE.description, ("an example",), RouteSnapshot("other", ("main/small",)))
    assert fingerprint((moved, CHAT)) == fingerprint(SCENES)


def test_half_characters_are_no_obstacle() -> None:
    seen = shown("fix \ud800 it", SCENES)
    assert json.loads(asked(seen).body["messages"][0]["content"].splitlines()[1]) == "fix  it"
