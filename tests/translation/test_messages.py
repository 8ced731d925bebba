import pytest

from providers.translation import signature
from providers.translation.dialect import Dialect
from providers.translation.request import InvalidRequest
from tests.translation.conversations import KEY, PNG, assistant, image, result, sent, system, text, translate, use, user

FOLD = Dialect()
PRESERVE = Dialect(system_mid="preserve")
CACHE = {"cache_control": {"type": "ephemeral"}}
PDF = {
    "type": "document",
    "title": "q3.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
}
DATA_URI = f"data:image/png;base64,{PNG}"


def note(value: str) -> str:
    return f"<system-reminder>\n{value}\n</system-reminder>"


def shape(messages: list) -> list:
    return [(m["role"], m["content"]) for m in messages]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("be brief", "be brief"),
        ([text("First."), text("Second.")], "First.\n\nSecond."),
        ([text("x-anthropic-billing-header: cc=1;"), text("rest")], "rest"),
        ([text("x-anthropic-billing-header: cc=1;\nkept")], "kept"),
        ("x-anthropic-billing-header: cc=1;\nkept", "kept"),
        ([text("one", **CACHE), {"type": "text", "text": None}, text("  ")], "one"),
        (" \n", None),
        ([], None),
        (5, None),
        ([None, 3, {"type": "thinking"}], None),
    ],
)
def test_top_level_system(value, expected):
    messages = sent(user("q"), system=value)
    assert [m["content"] for m in messages if m["role"] == "system"] == ([expected] if expected else [])


def test_system_keeps_one_part_per_block_where_cache_marks_are_read():
    dialect = Dialect(cache_control=True)
    messages = sent(user("q"), system=[text("a", **CACHE), text("b")], dialect=dialect)
    assert messages[0]["content"] == [text("a", **CACHE), text("b")]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([system("env"), user("q")], [("system", "base\n\nenv"), ("user", "q")]),
        ([user("q"), system("env")], [("system", "base"), ("user", f"q\n{note('env')}")]),
        ([user("q"), system([])], [("system", "base"), ("user", "q")]),
        (
            [user("q"), assistant("a"), system("late"), user("q2")],
            [("system", "base"), ("user", "q"), ("assistant", "a"), ("user", f"{note('late')}\nq2")],
        ),
        (
            [user("q"), assistant("a"), system("last")],
            [("system", "base"), ("user", "q"), ("assistant", "a"), ("user", note("last"))],
        ),
        (
            [user("q"), assistant(use("t")), user(result("t", "R")), system("n")],
            [("system", "base"), ("user", "q"), ("assistant", None), ("tool", f"R\n\n{note('n')}")],
        ),
        (
            [user("q"), assistant(use("t")), system("n"), user(result("t", "R"))],
            [("system", "base"), ("user", "q"), ("assistant", None), ("tool", f"R\n\n{note('n')}")],
        ),
        (
            [user("q"), assistant(use("t")), user(result("t", "R"), text("and")), system("n")],
            [("system", "base"), ("user", "q"), ("assistant", None), ("tool", "R"), ("user", f"and\n{note('n')}")],
        ),
    ],
)
def test_system_messages_in_the_middle_are_folded(messages, expected):
    assert shape(sent(*messages, system="base")) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user("q"), system(text("env", **CACHE))], [("user", "q"), ("system", "env")]),
        (
            [user("q"), assistant(use("t")), system("n"), user(result("t", "R"))],
            [("user", "q"), ("assistant", None), ("tool", "R"), ("system", "n")],
        ),
        (
            [user("q"), system("n"), system("m"), user("r")],
            [("user", "q"), ("system", "n\n\nm"), ("user", "r")],
        ),
    ],
)
def test_system_messages_in_the_middle_are_preserved(messages, expected):
    assert shape(sent(*messages, dialect=PRESERVE)) == expected


@pytest.mark.parametrize("dialect", [FOLD, PRESERVE])
def test_a_growing_conversation_keeps_its_prefix(dialect):
    history = [
        user("q"),
        system("env"),
        assistant(text("I read"), use("a"), use("b")),
        user(result("b", "B"), result("a", [text("A"), image()])),
        system("note"),
        assistant(use("c")),
        user(result("c", "C")),
        system("again"),
        assistant("done"),
        user("next"),
    ]
    whole = sent(*history, dialect=dialect)
    for end in (2, 5, 8):  # where the client really calls: after its own messages
        part = sent(*history[:end], dialect=dialect)
        assert whole[: len(part)] == part


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ((text("one"), text(""), text("two")), "one\ntwo"),
        (
            (text("look"), image(), text("after")),
            [text("look"), {"type": "image_url", "image_url": {"url": DATA_URI}}, text("after")],
        ),
        ((image(type="base64", data=PNG),), [{"type": "image_url", "image_url": {"url": DATA_URI}}]),
        (
            (image(type="base64", data="/9j/4AAQ"),),
            [{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ"}}],
        ),
        (
            (image(type="url", url="https://e.invalid/a.png"),),
            [{"type": "image_url", "image_url": {"url": "https://e.invalid/a.png"}}],
        ),
        ((image(type="file", file_id="file_1"),), "[image file file_1 not available]"),
        ((image(type="base64", data=None),), "[image omitted: its source cannot be read]"),
        (({"type": "image", "source": None},), "[image omitted: its source cannot be read]"),
        (
            ({"type": "document", "title": "N", "context": "C", "source": {"type": "text", "data": "BODY"}},),
            '<document title="N">\nC\nBODY\n</document>',
        ),
        (
            ({"type": "document", "source": {"type": "content", "content": [text("in")]}},),
            "<document>\nin\n</document>",
        ),
        ((PDF,), "[document omitted: q3.pdf, 1 KB; this model cannot read PDF files]"),
        (
            ({"type": "document", "source": {"type": "url", "url": "https://e.invalid/a.pdf"}},),
            "[document not attached: https://e.invalid/a.pdf]",
        ),
        (
            ({"type": "search_result", "title": "KB", "source": "https://kb/1", "content": [text("FACT")]},),
            "KB\nhttps://kb/1\nFACT",
        ),
        (({"type": "compaction", "content": "SUMMARY"},), "SUMMARY"),
        (({"type": "browser_state", "url": "u"},), "[unsupported block: browser_state]"),
        (({"type": "container_upload", "file_id": "f1"},), "[uploaded file f1 not available]"),
    ],
)
def test_user_content(content, expected):
    assert sent(user(*content))[-1] == {"role": "user", "content": expected}


def test_image_for_a_model_without_vision_becomes_a_placeholder():
    request = translate(user(text("x"), image()), option={"capabilities": frozenset({"tools"})})
    assert request.body["messages"][0]["content"] == "x\n[image omitted: model has no vision]"
    assert "block:image" in request.dropped_fields


def test_pdf_is_a_file_part_where_the_platform_reads_it():
    [message] = sent(user(PDF), dialect=Dialect(pdf=True))
    assert message["content"] == [
        {"type": "file", "file": {"filename": "q3.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
    ]


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        ([user("a"), user("b")], ["user"]),
        ([user("a"), assistant("b"), assistant("c"), user("d")], ["user", "assistant", "user"]),
        ([user("a"), assistant({"type": "thinking", "thinking": "t", "signature": ""}), user("b")], ["user"]),
        ([user("a"), assistant(""), user("b")], ["user"]),
        (
            [user("a"), assistant(use("x")), assistant(use("y")), user(result("x"), result("y"))],
            ["user", "assistant", "tool", "tool"],
        ),
        ([user("a"), assistant(use("x"))], ["user", "assistant", "tool"]),
    ],
)
def test_turns_alternate(messages, roles):
    assert [m["role"] for m in sent(*messages)] == roles


def test_blocks_of_server_tools_become_text():
    messages = sent(
        user("q"),
        assistant(
            text("Searching."),
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "wolves"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "s1",
                "content": [
                    {"type": "web_search_result", "title": "Wolf", "url": "https://w", "encrypted_content": "zz"}
                ],
            },
            text("Found."),
        ),
        user("more"),
    )
    content = messages[1]["content"]
    assert "[web_search: wolves]" in content
    assert "Wolf (https://w)" in content
    assert "zz" not in content


def test_cache_marks_stay_where_the_platform_reads_them():
    messages = sent(
        user(text("q", **CACHE)),
        assistant(text("a", **CACHE), use("t")),
        user(result("t", "R", **CACHE)),
        dialect=Dialect(cache_control=True),
    )
    assert [m["content"] for m in messages] == [[text("q", **CACHE)], [text("a", **CACHE)], [text("R", **CACHE)]]


def test_trailing_assistant_text_is_continued_on_request():
    messages = sent(user("q"), assistant("The answer is"))
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert "Continue" in messages[-1]["content"]


@pytest.mark.parametrize(
    ("thinking_dialect", "extra"),
    [
        ("template", {"continue_final_message": True, "add_generation_prompt": False}),
        ("openrouter", {}),
    ],
)
def test_trailing_assistant_text_is_forwarded_where_it_works(thinking_dialect, extra):
    dialect = Dialect(prefill=True, thinking_dialect=thinking_dialect)
    body = translate(user("q"), assistant("The"), thinking={"type": "adaptive"}, dialect=dialect).body
    assert body["messages"][-1] == {"role": "assistant", "content": "The"}
    assert {key: body[key] for key in extra} == extra
    if thinking_dialect == "template":
        assert body["chat_template_kwargs"] == {"enable_thinking": False}


def thinking_block(value: str, sealed: dict | None = None) -> dict:
    sig = signature.seal(sealed, KEY) if sealed else "genuine=="
    return {"type": "thinking", "thinking": value, "signature": sig}


DETAILS = [{"type": "reasoning.encrypted", "data": "xx"}]


@pytest.mark.parametrize(
    ("style", "block", "expected"),
    [
        ("drop", thinking_block("SECRET"), {}),
        ("reasoning_content", thinking_block("SECRET"), {"reasoning_content": "SECRET"}),
        (
            "reasoning_content",
            thinking_block("", {"p": "vendor", "m": "vendor-model", "t": "SECRET"}),
            {"reasoning_content": "SECRET"},
        ),
        (
            "reasoning_content",
            thinking_block("", {"p": "other", "m": "x", "t": "SECRET"}),
            {"reasoning_content": "SECRET"},
        ),
        ("reasoning_content", {"type": "redacted_thinking", "data": "AA"}, {"reasoning_content": ""}),
        ("reasoning", thinking_block("SECRET"), {"reasoning": "SECRET"}),
        ("reasoning", {"type": "redacted_thinking", "data": "AA"}, {}),
        (
            "reasoning_details",
            thinking_block("S", {"p": "vendor", "m": "vendor-model", "d": DETAILS}),
            {"reasoning_details": DETAILS},
        ),
        ("reasoning_details", thinking_block("S", {"p": "other", "m": "vendor-model", "d": DETAILS}), {}),
        ("reasoning_details", thinking_block("SECRET"), {}),
        ("reasoning_content", {"type": "thinking", "thinking": None, "signature": 5}, {"reasoning_content": ""}),
    ],
)
def test_reasoning_goes_back_as_the_platform_wants_it_and_never_as_content(style, block, expected):
    messages = sent(user("q"), assistant(block, use("a")), user(result("a")), dialect=Dialect(reasoning_replay=style))
    call = messages[1]
    assert {key: call[key] for key in call if key.startswith("reasoning")} == expected
    assert call["content"] is None


def test_assistant_message_with_calls_only_has_the_content_the_platform_takes():
    assert sent(user("q"), assistant(use("a")), user(result("a")), dialect=Dialect(null_content=""))[1]["content"] == ""


@pytest.mark.parametrize("messages", [[user("")], [user(text(" "))], [system("only")], [assistant("")]])
def test_conversation_without_content_is_refused(messages):
    with pytest.raises(InvalidRequest, match="content"):
        sent(*messages)
