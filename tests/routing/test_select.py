"""Which targets a call may use, and why."""

import re
from collections.abc import Sequence
from fnmatch import translate
from typing import Any

import pytest

from providers.native_dialect import ROWS
from providers.translation.dialect import Dialect
from routing.intent.facts import Facts
from routing.meaning import NoTarget, meaning_of
from routing.select import NO_CREDENTIAL, Decision, ModelNotAllowed, PromptTooLong, first_target, select
from routing.snapshot import AliasSnapshot, PolicySnapshot, RouteSnapshot, Snapshot
from tests.accounts.books import target

BIG, SMALL, OTHER = target("main/big", context_window=1000), target("main/small"), target("backup/qwen/qwen3:free")
EVERYDAY = RouteSnapshot("everyday", ("main/big", "gone/model", "backup/qwen/qwen3:free"))
POLICY = PolicySnapshot(1, "default", "direct", EVERYDAY, "", None)


def alias(pattern: str, *names: str, route: str = "") -> AliasSnapshot:
    return AliasSnapshot(pattern, re.compile(translate(pattern)), RouteSnapshot(route, names))


VIEW = Snapshot(
    1,
    {each.name: each for each in (BIG, SMALL, OTHER)},
    (alias("claude-haiku-*", "main/small"), alias("duo", "main/small", "main/big", route="duo")),
    {1: POLICY},
    POLICY,
)


def select_for(
    view: Snapshot,
    policy: PolicySnapshot | None,
    requested: str,
    *,
    allowed: Sequence[str] = (),
    has_own_credential: bool = False,
    **fields: Any,
) -> Decision:
    facts = Facts(requested, **fields)
    meaning = meaning_of(view, policy, facts)
    return select(view, policy, meaning, facts, allowed=allowed, has_own_credential=has_own_credential)


def choose(requested: str, **fields: Any) -> Decision:
    return select_for(VIEW, POLICY, requested, **fields)


def names(decision: Decision) -> list[str]:
    return [each.name for each in decision.candidates]


@pytest.mark.parametrize(
    ("requested", "expected", "reason"),
    [
        ("claude-opus-5-5", ["main/big", "backup/qwen/qwen3:free"], "policy default"),
        ("claude-haiku-5-5", ["main/small"], "alias claude-haiku-*"),
        ("duo", ["main/small", "main/big"], "alias duo"),
        ("main/small", ["main/small"], "named by the client"),
        ("backup/qwen/qwen3:free", ["backup/qwen/qwen3:free"], "named by the client"),
        ("main/unheard-of", ["main/big", "backup/qwen/qwen3:free"], "policy default"),
        ("模型", ["main/big", "backup/qwen/qwen3:free"], "policy default"),
    ],
)
def test_a_name_means_an_alias_a_target_or_whatever_the_policy_says(
    requested: str, expected: list[str], reason: str
) -> None:
    decision = choose(requested)
    assert names(decision) == expected
    assert decision.reason == reason


def test_what_was_passed_over_is_recorded_with_the_reason() -> None:
    decision = choose("claude-opus-5-5", prompt_tokens=1101)
    assert names(decision) == ["backup/qwen/qwen3:free"]
    assert decision.as_record() == {
        "reason": "policy default",
        "candidates": ["backup/qwen/qwen3:free"],
        "skipped": [
            {"target": "gone/model", "reason": "disabled"},
            {"target": "main/big", "reason": "prompt of about 1101 tokens exceeds its window"},
        ],
        "estimates": {"backup/qwen/qwen3:free": "0.033303 USD"},
    }


@pytest.mark.parametrize(
    ("prompt_tokens", "hangs"),
    [(0, False), (500, False), (501, True), (1101, True)],  # a disabled target is passed over whatever the size
)
def test_only_near_a_window_does_the_choice_hang_on_the_estimate(prompt_tokens: int, hangs: bool) -> None:
    assert choose("claude-opus-5-5", prompt_tokens=prompt_tokens).hangs_on_size is hangs


def test_nothing_hangs_on_the_size_of_what_is_passed_through() -> None:
    server = target("main/big", wire_format="anthropic", context_window=1000)
    policy = PolicySnapshot(1, "p", "passthrough", RouteSnapshot("r", ("main/big",)), "", None)
    view = Snapshot(1, {server.name: server}, (), {1: policy}, policy)
    assert not select_for(view, policy, "x", prompt_tokens=5000).hangs_on_size


def test_an_estimate_just_above_the_window_is_given_a_chance() -> None:
    assert "main/big" in names(choose("claude-opus-5-5", prompt_tokens=1100))


def test_where_nothing_has_room_the_platform_decides_unless_it_would_cut_silently() -> None:
    assert names(choose("main/big", prompt_tokens=1900)) == ["main/big"]
    silent = target("local/llama", kind="ollama", context_window=1000)
    view = Snapshot(1, {silent.name: silent})
    with pytest.raises(PromptTooLong):
        select_for(view, None, silent.name, prompt_tokens=1900)


def test_a_prompt_that_fits_nowhere_says_so_in_the_words_that_make_clients_compact() -> None:
    with pytest.raises(PromptTooLong, match=r"^prompt is too long: 5000 tokens > 1000 maximum$"):
        choose("main/big", prompt_tokens=5000)


@pytest.mark.parametrize(
    ("requested", "allowed", "expected"),
    [
        ("claude-opus-5-5", ["main/*"], ["main/big"]),
        ("claude-opus-5-5", ["claude-*"], ["main/big", "backup/qwen/qwen3:free"]),
        ("claude-haiku-5-5", ["claude-haiku-*"], ["main/small"]),
        ("claude-haiku-5-5", ["main/small"], ["main/small"]),
        ("main/big", ["backup/*"], None),
        ("claude-haiku-5-5", ["main/big"], None),
    ],
)
def test_a_key_uses_only_what_it_may(requested: str, allowed: list[str], expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(ModelNotAllowed, match=re.escape(allowed[0])):
            choose(requested, allowed=allowed)
    else:
        assert names(choose(requested, allowed=allowed)) == expected


def test_without_a_way_to_answer_the_text_says_what_to_do() -> None:
    empty = PolicySnapshot(2, "empty", "direct", RouteSnapshot("none", ()), "", None)
    off = PolicySnapshot(3, "off", "direct", RouteSnapshot("off", ("gone/model",)), "", None)
    for policy, text in ((None, "No routing policy"), (empty, "has no targets"), (off, "disabled")):
        with pytest.raises(NoTarget, match=text):
            select_for(VIEW, policy, "x")
        assert first_target(VIEW, policy, Facts("x")) is None
    assert first_target(VIEW, POLICY, Facts("x")) is BIG


def test_the_most_particular_policy_counts() -> None:
    other = PolicySnapshot(2, "other", "direct", EVERYDAY, "", None)
    view = Snapshot(1, {}, (), {1: POLICY, 2: other}, POLICY)
    assert view.policy(None, 2, 1) is other
    assert view.policy(None, None, None) is POLICY
    assert view.policy(99, None, 2) is other


ANY = target("relay/*", kind="anthropic_compatible", wire_format="anthropic", price=None)
OWN_ROW = target("relay/claude-x", kind="anthropic_compatible", wire_format="anthropic", context_window=10)
ROUTER = target(
    "router/*", kind="openrouter", wire_format="anthropic", native=ROWS["openrouter"], forwards_client_credential=True
)
SERVERS = RouteSnapshot("servers", ("relay/*", "main/small", "router/*"))
PASSING = PolicySnapshot(4, "passing", "passthrough", SERVERS, "", None)
RELAYS = Snapshot(
    1,
    {each.name: each for each in (ANY, OWN_ROW, ROUTER, SMALL)},
    (alias("fast", "main/small"), alias("any-*", "relay/*")),
    {4: PASSING},
    PASSING,
)


def passed(requested: str, **fields: Any) -> Decision:
    return select_for(RELAYS, PASSING, requested, **fields)


def test_calls_are_passed_to_anthropic_servers_alone_in_order_whatever_the_prompt() -> None:
    decision = passed("claude-x", prompt_tokens=10**6, has_own_credential=True)
    assert decision.is_passthrough
    assert decision.candidates[0] is OWN_ROW
    assert names(decision) == ["relay/claude-x", "router/claude-x"]
    assert decision.skipped == [("main/small", "not an Anthropic-compatible server")]


def test_a_target_that_forwards_a_credential_needs_one() -> None:
    assert passed("claude-y").skipped[-1] == ("router/claude-y", NO_CREDENTIAL)
    with pytest.raises(NoTarget, match="x-gateway-key"):
        passed("router/claude-y")
    assert names(passed("router/claude-y", has_own_credential=True)) == ["router/claude-y"]


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("relay/claude-z", "relay/claude-z"),
        ("relay/org/model:1", "relay/org/model:1"),
        ("relay/claude-x", "relay/claude-x"),
        ("any-1", "relay/any-1"),
        ("fast", "main/small"),
    ],
)
def test_a_name_of_the_clients_own_choice_is_not_passed_through(requested: str, expected: str) -> None:
    decision = passed(requested)
    assert names(decision) == [expected]
    assert not decision.is_passthrough
    first = first_target(RELAYS, PASSING, Facts(requested))
    assert first is not None
    assert first.name == expected


def test_any_model_is_no_name_by_itself() -> None:
    assert names(passed("relay/*"))[0] == "relay/relay/*"
    assert passed("relay/*").reason == "policy passing"


def test_a_name_of_any_model_follows_its_family_and_teaches_no_row() -> None:
    (chosen,) = passed("router/anthropic/claude-1", has_own_credential=True).candidates
    assert (chosen.native.native_system, chosen.model_pk) == ("preserve", 0)
    (chosen,) = passed("router/z-ai/glm", has_own_credential=True).candidates
    assert chosen.native is ROWS["openrouter"]


@pytest.mark.parametrize("requested", ["relay/" + "x" * 201, "relay/a\nb"])
def test_what_is_no_name_of_a_model_is_not_asked_for(requested: str) -> None:
    with pytest.raises(NoTarget):
        passed(requested)


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [(["claude-*"], True), (["relay/claude-*"], True), (["relay/*"], True), (["other/*"], False)],
)
def test_a_keys_patterns_match_what_any_model_stands_for(allowed: list[str], expected: bool) -> None:
    if expected:
        assert names(passed("claude-y", allowed=allowed)) == ["relay/claude-y"]
    else:
        with pytest.raises(ModelNotAllowed):
            passed("claude-y", allowed=allowed)


@pytest.mark.parametrize(
    ("needs", "expected", "last_resort"),
    [
        ((), ["t/blind", "t/none", "t/all", "t/unknown"], []),
        (("vision",), ["t/all", "t/unknown", "t/blind", "t/none"], ["t/blind: has no vision", "t/none: has no vision"]),
        (("tools",), ["t/blind", "t/all", "t/unknown", "t/none"], ["t/none: has no tools"]),
        (
            ("vision", "tools"),
            ["t/all", "t/unknown", "t/blind", "t/none"],
            ["t/blind: has no vision", "t/none: has no tools, no vision"],
        ),
        # The text of a PDF is extracted where a model takes none.
        (("pdf",), ["t/blind", "t/none", "t/all", "t/unknown"], []),
    ],
)
def test_who_can_do_what_a_call_needs_is_asked_first(
    needs: tuple[str, ...], expected: list[str], last_resort: list[str]
) -> None:
    view, route = capable_targets(
        blind={"capabilities": frozenset({"tools"})},
        none={"capabilities": frozenset()},
        all={"capabilities": frozenset({"tools", "vision"})},
        unknown={},
    )
    decision = select_for(view, route, "x", needs=frozenset(needs))
    assert names(decision) == expected
    assert [": ".join(each) for each in decision.last_resort] == last_resort
    recorded = decision.as_record().get("last_resort", [])
    assert [f"{each['target']}: {each['reason']}" for each in recorded] == last_resort
    assert decision.skipped == []


def test_where_nobody_can_the_order_of_the_route_stays_and_nothing_is_said() -> None:
    view, route = capable_targets(first={"capabilities": frozenset()}, second={"dialect": Dialect(vision=False)})
    decision = select_for(view, route, "x", needs=frozenset({"vision"}))
    assert names(decision) == ["t/first", "t/second"]
    assert "last_resort" not in decision.as_record()


def test_a_platform_that_takes_no_images_has_no_vision_whatever_the_model_can() -> None:
    able = frozenset({"vision"})
    view, route = capable_targets(first={"dialect": Dialect(vision=False), "capabilities": able}, second={})
    assert names(select_for(view, route, "x", needs=frozenset({"vision"}))) == ["t/second", "t/first"]


def test_a_pdf_weighs_less_where_only_its_text_is_sent() -> None:
    view, route = capable_targets(
        reader={"context_window": 1000},
        taker={"context_window": 1000, "dialect": Dialect(pdf=True)},
        native={"context_window": 1000, "wire_format": "anthropic"},
        told={"context_window": 1000, "wire_format": "anthropic", "native": ROWS["dashscope"]},
    )
    decision = select_for(view, route, "x", prompt_tokens=1500, pdf_tokens=1200)
    assert names(decision) == ["t/reader", "t/told"]
    assert decision.skipped == [
        (name, "prompt of about 1500 tokens exceeds its window") for name in ("t/taker", "t/native")
    ]
    decision = select_for(view, route, "x", prompt_tokens=1800, pdf_tokens=600)
    assert ("t/reader", "prompt of about 1500 tokens exceeds its window") not in decision.skipped
    assert names(decision) == ["t/reader", "t/taker", "t/native", "t/told"]
    with pytest.raises(PromptTooLong):
        select_for(view, route, "x", prompt_tokens=4000, pdf_tokens=1200)


def test_a_named_target_is_asked_whatever_it_lacks() -> None:
    view, route = capable_targets(blind={"capabilities": frozenset()}, seeing={})
    assert names(select_for(view, route, "t/blind", needs=frozenset({"vision"}))) == ["t/blind"]


def capable_targets(**fields: dict[str, Any]) -> tuple[Snapshot, PolicySnapshot]:
    targets = {f"t/{name}": target(f"t/{name}", **values) for name, values in fields.items()}
    policy = PolicySnapshot(1, "default", "direct", RouteSnapshot("route", tuple(targets)), "", None)
    return Snapshot(1, targets, (), {1: policy}, policy), policy


@pytest.mark.parametrize(
    ("facts", "expected", "last_resort"),
    [
        ({"prompt_tokens": 6000}, ["t/narrow", "t/short", "t/wide"], []),
        # The limit that Claude Code asks for fits nowhere, and is no reason to pass anybody over.
        ({"prompt_tokens": 6000, "max_tokens": 128_000}, ["t/narrow", "t/short", "t/wide"], []),
        ({"prompt_tokens": 7100}, ["t/short", "t/wide", "t/narrow"], ["t/narrow"]),
        ({"prompt_tokens": 8100}, ["t/short", "t/wide", "t/narrow"], ["t/narrow"]),
        ({"prompt_tokens": 7100, "max_tokens": 100}, ["t/narrow", "t/short", "t/wide"], []),
    ],
)
def test_who_has_no_room_for_an_answer_is_asked_last(
    facts: dict[str, Any], expected: list[str], last_resort: list[str]
) -> None:
    view, route = capable_targets(narrow={"context_window": 8000}, short={"context_window": 16_000}, wide={})
    decision = select_for(view, route, "x", **facts)
    assert names(decision) == expected
    assert decision.last_resort == [(name, "has little room for an answer") for name in last_resort]
    assert decision.hangs_on_size


@pytest.mark.parametrize(
    ("max_tokens", "expected"),
    [(None, ["t/long", "t/brief"]), (128_000, ["t/long", "t/brief"]), (400, ["t/brief", "t/long"])],
)
def test_who_cannot_write_an_answer_of_the_usual_length_is_asked_last(
    max_tokens: int | None, expected: list[str]
) -> None:
    view, route = capable_targets(brief={"max_output_tokens": 500}, long={"max_output_tokens": 8000})
    assert names(select_for(view, route, "x", max_tokens=max_tokens)) == expected


@pytest.mark.parametrize(
    ("effort", "expected"),
    [
        # What clients send with every call, whatever it is about, is no wish for a model that thinks.
        *((effort, ["t/plain", "t/thinker"]) for effort in ("", "low", "medium", "high")),
        *((effort, ["t/thinker", "t/plain"]) for effort in ("xhigh", "max")),
    ],
)
def test_only_an_effort_of_the_users_own_wish_prefers_models_that_think(effort: str, expected: list[str]) -> None:
    view, route = capable_targets(
        plain={"capabilities": frozenset({"tools"})}, thinker={"capabilities": frozenset({"tools", "thinking"})}
    )
    decision = select_for(view, route, "x", effort=effort, needs=frozenset({"tools"}))
    assert names(decision) == expected
    assert decision.last_resort == ([("t/plain", "has no thinking")] if expected[0] == "t/thinker" else [])


def test_a_model_without_tools_is_worse_than_one_without_room_and_that_than_one_without_eyes() -> None:
    view, route = capable_targets(
        idle={"capabilities": frozenset({"vision"})},
        full={"capabilities": frozenset({"vision", "tools"}), "context_window": 8000},
        blind={"capabilities": frozenset({"tools"})},
    )
    decision = select_for(view, route, "x", prompt_tokens=7500, needs=frozenset({"vision", "tools"}))
    assert names(decision) == ["t/blind", "t/full", "t/idle"]


def test_an_endless_name_does_not_get_into_the_record_whole() -> None:
    wild = target("any/*")
    view = Snapshot(1, {"any/*": wild, "main/small": SMALL}, (), {}, None)
    policy = PolicySnapshot(1, "default", "direct", RouteSnapshot("all", ("any/*", "main/small")), "", None)
    decision = select_for(view, policy, "x" * 30_000)
    assert names(decision) == ["main/small"]
    assert len(str(decision.as_record())) < 1000
