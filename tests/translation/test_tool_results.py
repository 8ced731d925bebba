import json
import time

import pytest

from providers.translation.dialect import Dialect
from providers.translation.request import InvalidRequest
from tests.translation.conversations import PNG, assistant, image, result, sent, system, text, translate, use, user

FOLD = Dialect()
PDF = {
    "type": "document",
    "title": "q3.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
}
DATA_URI = f"data:image/png;base64,{PNG}"


def shape(messages: list) -> list:
    return [(m["role"], m["content"]) for m in messages]


def test_results_follow_the_order_of_the_calls_and_text_comes_after_them():
    messages = sent(
        user("q"),
        assistant(text("I'll read. "), text("Now."), use("a", value={"z": "中文", "b": 1}), use("b", value={})),
        user(text("ALSO"), result("b", "RB"), result("a", [text("l1"), text("l2")])),
    )
    assert messages[1]["content"] == "I'll read. Now."
    assert [c["function"]["arguments"] for c in messages[1]["tool_calls"]] == ['{"z": "中文", "b": 1}', "{}"]
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "l1\nl2"},
        {"role": "tool", "tool_call_id": "b", "content": "RB"},
        {"role": "user", "content": "ALSO"},
    ]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (result("a", None), ""),
        ({"type": "tool_result", "tool_use_id": "a"}, ""),
        (result("a", []), ""),
        (result("a", "exit code 7", is_error=True), "Error: exit code 7"),
        (result("a", "error: exit code 7", is_error=True), "error: exit code 7"),
        (result("a", "<tool_use_error>bad</tool_use_error>", is_error=True), "<tool_use_error>bad</tool_use_error>"),
        (result("a", "", is_error=True), "Error: (no output)"),
        (result("a", [{"type": "tool_reference", "tool_name": "CronList"}]), "Tool available: CronList"),
        (result("a", [{"type": "weird"}]), "[unsupported block: weird]"),
        (result("a", [text("t"), PDF]), "t\n[document omitted: q3.pdf, 1 KB; this model cannot read PDF files]"),
    ],
)
def test_tool_result_content(block, expected):
    assert sent(user("q"), assistant(use("a")), user(block))[-1] == {
        "role": "tool",
        "tool_call_id": "a",
        "content": expected,
    }


def test_empty_result_gets_words_where_the_platform_refuses_it():
    messages = sent(user("q"), assistant(use("a")), user(result("a", "")), dialect=Dialect(no_empty_tool=True))
    assert messages[-1]["content"] == "(no output)"


def test_images_of_results_move_behind_all_results():
    messages = sent(
        user("q"),
        assistant(use("a"), use("b")),
        user(result("a", [text("shot"), image()]), result("b", "RB"), text("and this")),
    )
    assert messages[2]["content"] == "shot\n[image 1 attached below]"
    assert messages[3]["content"] == "RB"
    assert messages[4:] == [
        {
            "role": "user",
            "content": [
                text("Images from tool call a:"),
                {"type": "image_url", "image_url": {"url": DATA_URI}},
                text("and this"),
            ],
        }
    ]


def test_images_of_results_stay_where_the_platform_takes_them():
    messages = sent(
        user("q"),
        assistant(use("a")),
        user(result("a", [text("shot"), image()])),
        dialect=Dialect(tool_images="inline"),
    )
    assert messages[-1]["content"] == [text("shot"), {"type": "image_url", "image_url": {"url": DATA_URI}}]


@pytest.mark.parametrize("tool_images", ["hoist", "inline"])
def test_pdf_in_a_result_is_hoisted_as_a_file(tool_images):
    dialect = Dialect(pdf=True, tool_images=tool_images)
    messages = sent(user("q"), assistant(use("a")), user(result("a", [text("t"), PDF])), dialect=dialect)
    assert messages[-2]["content"] == "t\n[document 1 attached below]"
    assert [part["type"] for part in messages[-1]["content"]] == ["text", "file"]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user(result("x", "R"))], [("user", "Tool result (x): R")]),
        (
            [user("q"), assistant(use("a")), user("never mind")],
            [("user", "q"), ("assistant", None), ("tool", "[no result: interrupted]"), ("user", "never mind")],
        ),
        (
            [user("q"), assistant(use("a")), user("wait"), user(result("a", "R"))],
            [("user", "q"), ("assistant", None), ("tool", "R"), ("user", "wait")],
        ),
        (
            [user("q"), assistant(use("a")), user("wait"), assistant("ok"), user(result("a", "R"))],
            [
                ("user", "q"),
                ("assistant", None),
                ("tool", "[no result: interrupted]"),
                ("user", "wait"),
                ("assistant", "ok"),
                ("user", "Tool result (a): R"),
            ],
        ),
        (
            [user("q"), assistant(use("a")), user(result("a", "1"), result("a", "2"))],
            [("user", "q"), ("assistant", None), ("tool", "1\n2")],
        ),
        (
            [user("q"), assistant(use("a"), result("a", "R"))],
            [("user", "q"), ("assistant", None), ("tool", "R")],
        ),
    ],
)
def test_calls_and_results_that_do_not_match(messages, expected):
    assert shape(sent(*messages)) == expected


def test_two_calls_with_one_id_get_two_ids_and_one_result_each():
    messages = sent(user("q"), assistant(use("a"), use("a")), user(result("a", "1"), result("a", "2")))
    assert [c["id"] for c in messages[1]["tool_calls"]] == ["a", "a_2"]
    assert [(m["tool_call_id"], m["content"]) for m in messages[2:]] == [("a", "1"), ("a_2", "2")]


@pytest.mark.parametrize(
    ("style", "tool_id", "fits"),
    [
        ("any", "functions.Bash:0", lambda i: i == "functions.Bash:0"),
        ("openai40", "call_" + "x" * 55, lambda i: len(i) == 40 and i.startswith("call_")),
        ("openai40", "toolu_01", lambda i: i == "toolu_01"),
        ("mistral9", "toolu_01", lambda i: len(i) == 9 and i.isalnum()),
        ("mistral9", "abc123DEF", lambda i: i == "abc123DEF"),
        ("alnum64", "functions.Bash:0", lambda i: i.isalnum() and len(i) <= 64),
    ],
)
def test_tool_ids_are_mapped_alike_for_call_and_result(style, tool_id, fits):
    request = translate(user("q"), assistant(use(tool_id)), user(result(tool_id)), dialect=Dialect(tool_id=style))
    messages = request.body["messages"]
    assert fits(messages[1]["tool_calls"][0]["id"])
    assert messages[2]["tool_call_id"] == messages[1]["tool_calls"][0]["id"]
    assert request.known_tool_ids == {tool_id}


@pytest.mark.parametrize(
    ("value", "expected"), [([1], {"input": [1]}), ("x", {"input": "x"}), ({"n": float("inf")}, {"n": None})]
)
def test_tool_input_is_always_a_json_object(value, expected):
    messages = sent(user("q"), assistant(use("a", value=value)), user(result("a")))
    assert json.loads(messages[1]["tool_calls"][0]["function"]["arguments"]) == expected


@pytest.mark.parametrize("first", [1, float("inf")])
def test_tool_input_nested_beyond_encoders_is_refused(first):
    value: dict = {}
    for _ in range(5000):
        value = {"a": first, "b": value}
    with pytest.raises(InvalidRequest, match=r"messages\.1: .*nested"):
        sent(user("q"), assistant(use("a", value=value)), user(result("a")))


def test_thousands_of_calls_in_one_turn_are_no_burden():
    count = 5000
    start = time.perf_counter()
    sent(
        user("q"),
        *(assistant(use("same"), use(f"t{number}")) for number in range(count)),
        *(system("note " * 50) for _ in range(count)),
        user(*(result(f"t{number}") for number in range(count)), *(result("same") for _ in range(count))),
        dialect=FOLD,
    )
    assert time.perf_counter() - start < 5


def test_two_hundred_tool_turns_take_linear_time():
    def seconds(turns: int) -> float:
        history = [user("q")]
        for number in range(turns):
            history += [assistant(use(f"t{number}")), user(result(f"t{number}", "x" * 200)), system("n")]
        best = 9.0
        for _ in range(5):
            start = time.perf_counter()
            sent(*history, dialect=FOLD)
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds(800) < 12 * seconds(200)
