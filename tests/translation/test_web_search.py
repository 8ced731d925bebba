"""What a web search becomes on the way there and back, without any search."""

import pytest

from providers.translation import web_search
from providers.translation.dialect import Dialect
from providers.translation.events import MessageBuilder
from providers.translation.stream import StreamTranslator
from providers.translation.usage import Usage, add, from_anthropic, from_openai, to_anthropic
from providers.translation.web_search import SearchResult, SearchTool
from tests.translation import answers, grammar
from tests.translation.answers import STOP, TOOL_STOP, call, calls, chunk, text
from tests.translation.conversations import READ, assistant, translate, user

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}
ON = {"has_search": True}
PAGE = SearchResult("Wolf", "https://wolf.example/", "A wolf.", "2026-01-02")


def offered(*tools, option=ON, dialect=None, **extra):
    request = translate(tools=list(tools), option=option, dialect=dialect, **extra)
    return request, [tool["function"]["name"] for tool in request.body.get("tools", [])]


@pytest.mark.parametrize(
    ("tools", "names", "function_name"),
    [
        ([SEARCH], ["web_search"], "web_search"),
        ([SEARCH, READ], ["Read", "web_search"], "web_search"),
        ([SEARCH, SEARCH], ["web_search"], "web_search"),
        ([{"type": "web_search_20260209", "name": "web_search"}], ["web_search"], "web_search"),
        ([{"type": "web_search_20250305"}], ["web_search"], "web_search"),
        ([SEARCH, {**READ, "name": "web_search"}], ["web_search", "server_web_search"], "server:web_search"),
        ([SEARCH, FETCH], ["web_search"], "web_search"),
    ],
)
def test_a_search_that_the_gateway_can_run_is_offered_as_a_function(tools, names, function_name):
    request, found = offered(*tools)
    assert found == names
    assert request.search is not None
    assert (request.search.name, request.search.function_name) == ("web_search", function_name)
    assert request.local_text is None
    assert request.dropped_fields == (["tools.web_fetch_20250910"] if FETCH in tools else [])
    assert request.body["tools"][-1]["function"]["parameters"]["required"] == ["query"]


@pytest.mark.parametrize(
    ("option", "dialect"),
    [
        ({}, None),
        ({**ON, "capabilities": frozenset()}, None),
        (ON, Dialect(server_tools="drop")),
        (ON, Dialect(server_tools="native", thinking_dialect="ollama")),
        (ON, Dialect(server_tools="native", thinking_dialect="openai")),
    ],
)
def test_where_nobody_can_search_the_answer_says_so(option, dialect):
    request, names = offered(SEARCH, option=option, dialect=dialect)
    assert (names, request.search) == ([], None)
    assert request.local_text is not None
    assert "cannot search the web" in request.local_text
    request, names = offered(SEARCH, READ, option={**option, "capabilities": None}, dialect=dialect or Dialect())
    assert request.local_text is None
    assert request.search is None or names == ["Read", "web_search"]


def test_the_name_that_dashscope_refuses_is_changed():
    request, names = offered({**SEARCH, "name": "search"}, dialect=Dialect(thinking_dialect="dashscope"))
    assert names != ["search"]
    assert request.tool_names == {names[0]: "search"}


def test_no_call_is_wanted_where_the_platform_cannot_be_told_so():
    request, names = offered(SEARCH, tool_choice={"type": "none"}, dialect=Dialect(thinking_dialect="ollama"))
    assert (names, request.search, request.local_text) == ([], None, None)


@pytest.mark.parametrize(
    ("dialect", "option", "tools", "expected"),
    [
        ({"thinking_dialect": "openrouter"}, {}, [SEARCH], {"plugins": [{"id": "web"}]}),
        (
            {"thinking_dialect": "openrouter"},
            {},
            [{**SEARCH, "allowed_domains": ["https://A.example/docs/"]}],
            {"plugins": [{"id": "web", "include_domains": ["a.example/docs"]}]},
        ),
        (
            {"thinking_dialect": "openrouter"},
            {},
            [{**SEARCH, "blocked_domains": ["a.example", "a.example", "", 5]}],
            {"plugins": [{"id": "web", "exclude_domains": ["a.example"]}]},
        ),
        (
            {"thinking_dialect": "dashscope"},
            {},
            [SEARCH],
            {"enable_search": True, "search_options": {"forced_search": True}},
        ),
        ({"thinking_dialect": "dashscope"}, {}, [SEARCH, READ], {"enable_search": True}),
        (
            {"thinking_dialect": "dashscope"},
            {"capabilities": frozenset()},
            [SEARCH, READ],
            {"enable_search": True},
        ),
        (
            {"thinking_dialect": "openai"},
            {"model_id": "gpt-4o-search-preview"},
            [SEARCH],
            {"web_search_options": {}},
        ),
        ({}, {}, [SEARCH], {"web_search_options": {}}),
        ({}, {}, [READ], {}),
        ({}, {}, [FETCH, READ], {}),
    ],
)
def test_the_platform_is_asked_to_search_itself(dialect, option, tools, expected):
    request, names = offered(*tools, dialect=Dialect(server_tools="native", **dialect), option=option)
    searching = ("plugins", "enable_search", "search_options", "web_search_options")
    assert {key: value for key, value in request.body.items() if key in searching} == expected
    assert names == (["Read"] if READ in tools and "capabilities" not in option else [])
    assert (request.search, request.local_text, request.cites_sources) == (None, None, bool(expected))


@pytest.mark.parametrize("json_schema", [True, False])
def test_no_sources_are_added_to_json(json_schema):
    dialect = Dialect(server_tools="native", json_schema=json_schema)
    wanted = {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}}}
    request, _names = offered(SEARCH, dialect=dialect, output_config=wanted)
    assert request.body["web_search_options"] == {}
    assert not request.cites_sources


def test_a_forced_native_search_leaves_the_choice_out():
    choice = {"type": "tool", "name": "web_search"}
    request, _names = offered(SEARCH, READ, dialect=Dialect(server_tools="native"), tool_choice=choice)
    assert "tool_choice" not in request.body
    assert request.body["web_search_options"] == {}


@pytest.mark.parametrize(
    ("value", "expected"), [(None, 5), (3, 3), (0, 0), (-1, 5), (99, 20), ("7", 5), (True, 5), (2.5, 5)]
)
def test_max_uses_is_bounded(value, expected):
    assert web_search.search_tool({**SEARCH, "max_uses": value}, ()).max_uses == expected


@pytest.mark.parametrize(
    ("allowed", "blocked", "url", "expected"),
    [
        ((), (), "https://a.example/x", True),
        (("a.example",), (), "https://a.example/x", True),
        (("a.example",), (), "https://www.a.example/x", True),
        (("a.example",), (), "https://A.EXAMPLE./x", True),
        (("a.example",), (), "https://aa.example/x", False),
        (("a.example",), (), "https://a.example.evil/x", False),
        (("a.example/docs",), (), "https://a.example/docs/1", True),
        (("a.example/docs/*",), (), "https://a.example/docs/1", True),
        (("a.example/docs",), (), "https://a.example/blog", False),
        ((), ("a.example",), "https://www.a.example/x", False),
        ((), ("a.example",), "https://b.example/x", True),
        (("a.example",), (), "https://[bad", False),
    ],
)
def test_domains(allowed, blocked, url, expected):
    assert SearchTool("web_search", "web_search", 5, allowed, blocked).wants(url) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"query": " two\n words "}, ("two words", None)),
        ({"query": "a\ud800b"}, ("a b", None)),
        ({"query": ""}, ("", "invalid_tool_input")),
        ({"query": "\x00"}, ("", "invalid_tool_input")),
        ({"query": ["a"]}, ("", "invalid_tool_input")),
        ({"q": "a"}, ("", "invalid_tool_input")),
        ("a", ("", "invalid_tool_input")),
        (None, ("", "invalid_tool_input")),
        ({"query": "x" * 400}, ("x" * 400, None)),
        ({"query": "x" * 401}, ("", "query_too_long")),
    ],
)
def test_query(value, expected):
    assert web_search.query_of(value) == expected


@pytest.mark.parametrize(
    ("outcome", "text", "content"),
    [
        ([], "Nothing was found.", []),
        ([PAGE], "1. Wolf\nhttps://wolf.example/\n2026-01-02\nA wolf.", None),
        ("unavailable", "Error: The search failed", {"type": "web_search_tool_result_error"}),
        ("max_uses_exceeded", "used up", {"type": "web_search_tool_result_error"}),
    ],
)
def test_outcome_as_text_and_as_block(outcome, text, content):
    assert text in web_search.result_text(outcome)
    block = web_search.result_block("srvtoolu_1", outcome)
    assert block["tool_use_id"] == "srvtoolu_1"
    if isinstance(content, dict):
        assert block["content"] == {**content, "error_code": outcome}
    elif content is not None:
        assert block["content"] == content
    else:
        [item] = block["content"]
        assert web_search.unseal(item["encrypted_content"]) == "A wolf."
        assert "wolf." not in item["encrypted_content"]


@pytest.mark.parametrize("content", [None, 5, "", "EqgfCioIARgBIiQ3YT", "wgws1.%%%", "wgws1.a"])
def test_encrypted_contents_of_others_stay_closed(content):
    assert web_search.unseal(content) in (None, "")


def history(*results):
    block = {"type": "web_search_tool_result", "tool_use_id": "s", "content": list(results)}
    called = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "wolves"}}
    request = translate(user("q"), assistant(called, block, {"type": "text", "text": "Done."}), user("go on"))
    return request.body["messages"][1]["content"]


def test_excerpts_come_back_and_those_of_others_do_not():
    ours = web_search.result_block("s", [PAGE])["content"][0]
    foreign = {**ours, "title": "Other", "encrypted_content": "EqgfCioIARgBIiQ3YT"}
    content = history(ours, foreign)
    assert "Wolf (https://wolf.example/)\nA wolf.\nOther (https://wolf.example/)" in content
    assert "EqgfC" not in content


def test_excerpts_in_the_history_are_bounded():
    long = SearchResult("T", "https://wolf.example/", "x" * 1000)
    assert len(history(*web_search.result_block("s", [long] * 10)["content"])) < 7000
    assert len(history(*web_search.result_block("s", [long] * 100)["content"])) < 9000


def test_what_a_tool_search_found_is_named():
    found = [{"type": "tool_reference", "tool_name": name} for name in ("Cron", "Read")]
    block = {
        "type": "tool_search_tool_result",
        "tool_use_id": "s",
        "content": {"type": "tool_search_tool_search_result", "tool_references": found},
    }
    content = translate(user("q"), assistant(block), user("go on")).body["messages"][1]["content"]
    assert content.strip() == "[tool_search result] tools available: Cron, Read"


SEARCHES = {
    "search": SearchTool("web_search", "web_search"),
    "tool_schemas": {**answers.TOOLS, "web_search": {"type": "object", "properties": {"query": {}}}},
}


def searched(*chunks, **changes):
    translator = StreamTranslator(answers.options(**SEARCHES, **changes))
    events = [event for one in chunks for event in translator.feed(one)] + translator.finish(True)
    return translator, grammar.outline(events), events


@pytest.mark.parametrize(
    "fragments",
    [
        [call(0, "c1", "web_search", '{"query": "wolves"}')],
        [call(0, "c1", "web_search", '{"que'), call(0, None, None, 'ry": "wolves"}')],
        [call(0, "c1", "web_"), call(0, "c1", "search"), call(0, None, None, '{"query": "wolves"}')],
        [call(None, None, "functions.web_search", '{"query": "wolves"}')],
    ],
)
def test_a_call_of_the_search_is_a_server_tool_use_in_one_piece(fragments):
    translator, lines, _events = searched(*(calls(fragment) for fragment in fragments), TOOL_STOP)
    assert lines == [
        "S0 server_tool_use(srvtoolu_new1,web_search)",
        'D0 {"query": "wolves"}',
        "X0",
        "MD(end_turn)",
        "MS",
    ]
    assert translator.stop_reason == "end_turn"


def test_a_search_that_the_output_limit_cut_leaves_no_trace():
    _translator, lines, _events = searched(
        text("Hm."), calls(call(0, "c1", "web_search", '{"que')), chunk({}, "length")
    )
    assert lines == ["S0 text", "D0 Hm.", "X0", "MD(max_tokens)", "MS"]


def test_beside_a_search_the_calls_of_the_client_stay_calls():
    both = calls(call(0, "c1", "web_search", '{"query": "a"}'), call(1, "c2", "Read", '{"path": "/a"}'))
    translator, lines, events = searched(both, TOOL_STOP)
    assert [line.split("(")[0] for line in lines if line.startswith("S")] == ["S0 server_tool_use", "S1 tool_use"]
    assert translator.stop_reason == "tool_use"
    builder = MessageBuilder()
    builder.feed(events)
    assert [block["input"] for block in builder.build()["content"]] == [{"query": "a"}, {"path": "/a"}]


def test_without_a_search_a_tool_of_that_name_is_the_clients():
    lines = answers.outline([calls(call(0, "c1", "web_search", "{}")), TOOL_STOP])
    assert lines[0] == "S0 tool_use(c1,web_search)"


CITED = [{"type": "url_citation", "url_citation": {"url": "https://w.example/", "title": "A [wolf]\n"}}]


@pytest.mark.parametrize(
    ("cites_sources", "chunks", "expected"),
    [
        (
            True,
            [text("Hi."), chunk({"annotations": CITED}), chunk({"annotations": CITED}), STOP],
            "Hi.\n\nSources:\n- [A (wolf)](https://w.example/)",
        ),
        (False, [text("Hi."), chunk({"annotations": CITED}), STOP], "Hi."),
        (True, [text("Hi."), chunk({"annotations": [5, {"url_citation": 1}, {"url_citation": {}}]}), STOP], "Hi."),
        (True, [text("Hi."), chunk({"annotations": "x"}), STOP], "Hi."),
        (
            True,
            [chunk({"content": "Hi.", "annotations": [{"url_citation": {"url": "https://w.example/"}}]}), STOP],
            "Hi.\n\nSources:\n- https://w.example/",
        ),
        (True, [text("Hi."), chunk({"annotations": [{"url_citation": {"url": "javascript:x"}}]}), STOP], "Hi."),
    ],
)
def test_what_the_platform_found_is_named_at_the_end(cites_sources, chunks, expected):
    assert answers.message(chunks, cites_sources=cites_sources)["content"] == [{"type": "text", "text": expected}]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 1, "server_tool_use": {"web_search_requests": 2}}, 2),
        ({"prompt_tokens": 5, "completion_tokens": 1, "plugins": {"search": {"count": 1, "strategy": "turbo"}}}, 1),
        ({"prompt_tokens": 5, "completion_tokens": 1, "server_tool_use": None, "plugins": []}, 0),
    ],
)
def test_searches_of_the_platform_are_counted(usage, expected):
    found = from_openai(usage)
    assert found is not None
    assert found.web_search_requests == expected


def test_usage_of_searches_in_anthropic_form_and_back():
    usage = to_anthropic(Usage(input_tokens=5, output_tokens=1, web_search_requests=3))
    assert usage["server_tool_use"] == {"web_search_requests": 3, "web_fetch_requests": 0}
    assert from_anthropic(usage).web_search_requests == 3
    assert "server_tool_use" not in to_anthropic(Usage(input_tokens=5))


def test_the_sum_of_usages_knows_a_cost_only_where_both_have_one():
    one = from_openai({"prompt_tokens": 5, "completion_tokens": 1, "cost": 0.5})
    assert one is not None
    total = add(one, one)
    assert (total.input_tokens, total.output_tokens, str(total.cost)) == (10, 2, "1.0")
    assert add(one, Usage(input_tokens=1)).cost is None
    assert add(one, Usage(is_estimated=True)).is_estimated
