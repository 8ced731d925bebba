"""No request and no configuration whatever may break routing by intent, or get more into a record than belongs there."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from providers.target import ANY_MODEL
from providers.translation import tokens
from providers.translation.validation import InvalidRequest, validate, whole_number
from routing.intent import chain
from routing.intent.facts import Facts, SceneChoice, SessionMemory
from routing.intent.reading import MAX_TEXT, facts_of
from routing.intent.sessions import loop_id
from routing.meaning import Meaning, NoTarget, default_scene, of_scene, rule_for, usable_scene, without_intent
from routing.models import KindRule, Policy
from routing.record import record_of
from routing.select import Decision, ModelNotAllowed, PromptTooLong, first_target, select
from routing.snapshot import PolicySnapshot, Snapshot
from tests.routing.intent.any_policy import NOW, TARGETS, configuration, session
from tests.translation.conversations import READ
from tests.translation.test_request_property import BLOCKS, FIELDS, TOOLS

RELAXED = settings(
    max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
MARK = "qzx-der-geheime-wortlaut"  # in whatever the user, the client and the tools say
MOST_BYTES = 8192  # of a decision in the books

SAID = st.sampled_from(
    [
        "",
        "yes",
        "继续",
        "refactor",
        "重构 123",
        "fix\ud800",
        "a\x00b",
        "<system-reminder>\nx\n</system-reminder>",
        "词" * 9000,
    ]
).map(lambda words: words and f"{words} {MARK}")
TEXTS = st.builds(lambda said: {"type": "text", "text": said}, SAID)
RESULTS = st.builds(lambda said: {"type": "tool_result", "tool_use_id": "a", "content": said}, SAID)
USES = st.just({"type": "tool_use", "id": "a", "name": "Bash", "input": {"command": MARK}})
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "user", "assistant", "system"]),
            "content": st.lists(TEXTS | RESULTS | USES | BLOCKS, max_size=4) | SAID | st.none(),
        }
    ),
    min_size=1,
    max_size=6,
)
CONFIGURATIONS = st.integers(0, 2**32)
NAMES = st.sampled_from(
    [
        "claude-haiku-4-5",
        "claude-opus-5-5",
        "opus[1m]",
        "模型",
        "any/made-up",
        "any/" + "x" * 30_000,
        "m\x00",
        "x" * 30_000,
    ]
) | st.sampled_from(TARGETS)
HEADERS = st.dictionaries(
    st.sampled_from(["x-app", "x-claude-code-agent-id", "x-claude-code-session-id", "anthropic-beta", "user-agent"]),
    st.sampled_from(["cli", "cli-bg", "a", "claude-cli/2.1.330 (external, cli)", ""]),
    max_size=3,
)
BODIES = st.builds(
    lambda model, messages, tools, fields, limit: {
        "model": model,
        "max_tokens": limit,
        "messages": messages,
        "tools": tools,
        **fields,
    },
    NAMES,
    MESSAGES,
    st.just([]) | st.just([READ]) | TOOLS,
    st.just({}) | st.just({"system": f"Title. {MARK}"}) | FIELDS,
    st.sampled_from([1, 300, 32_000, 10**22]),
)


def facts_for(body: dict[str, Any], headers: dict[str, str]) -> Facts:
    return facts_of(
        body,
        headers,
        prompt_tokens=tokens.rough_estimate(body),
        max_tokens=whole_number(body.get("max_tokens")),
    )


def validated(body: dict[str, Any]) -> dict[str, Any]:
    try:
        return validate(body)
    except InvalidRequest:
        assume(False)
        raise


def meaning_for(
    snapshot: Snapshot, policy: PolicySnapshot | None, facts: Facts, memory: SessionMemory | None, full: str = ""
) -> Meaning:
    """Return what a call means as the gateway finds it, where no small model answers. Raises `NoTarget`."""
    found = without_intent(snapshot, policy, facts, memory=memory, downgraded_by=full)
    if found is not None:
        return found
    assert policy is not None
    choice = chain.local(policy, facts, memory, NOW)
    return of_scene(facts, choice or SceneChoice(default_scene(policy), "default"))


def decide(
    snapshot: Snapshot, policy: PolicySnapshot | None, facts: Facts, memory: SessionMemory | None, **given: Any
) -> tuple[Meaning, Decision] | str:
    """Return the meaning and the candidates, or how the call is refused; anything else that is raised is a fault."""
    try:
        meaning = meaning_for(snapshot, policy, facts, memory, given.pop("full", ""))
        return meaning, select(snapshot, policy, meaning, facts, memory=memory, seed="s", **given)
    except (NoTarget, ModelNotAllowed, PromptTooLong) as refusal:
        return f"{type(refusal).__name__}: {refusal}"


@RELAXED
@given(
    BODIES,
    HEADERS,
    CONFIGURATIONS,
    st.sampled_from(["", "", "", "1000 tokens a day"]),
    st.sampled_from([(), (), ("claude-*",), ("up/*", "模型")]),
    st.booleans(),
)
def test_any_request_is_routed_or_refused_in_words(
    body: dict[str, Any],
    headers: dict[str, str],
    number: int,
    full: str,
    allowed: tuple[str, ...],
    has_own_credential: bool,
) -> None:
    (snapshot, policy), left = configuration(number), session(number)
    body = validated(body)
    facts = facts_for(body, headers)
    assert len(facts.text) <= MAX_TEXT
    assert loop_id(body["messages"]) == loop_id(body["messages"])
    first_target(snapshot, policy, facts, memory=left, downgraded_by=full)
    decided = decide(snapshot, policy, facts, left, full=full, allowed=allowed, has_own_credential=has_own_credential)
    if isinstance(decided, str):
        assert MARK not in decided
        return
    meaning, decision = decided
    if meaning.scene_name and meaning.by != "alias":  # which may name a scene that the policy does not use
        assert policy is not None
        assert usable_scene(policy, meaning.scene_name) is not None or meaning.by == "default"
    reachable = {name.replace(f"/{ANY_MODEL}", f"/{meaning.model_id}") for name in meaning.route.target_names}
    if policy is not None and meaning.by not in ("named", "alias", "quota"):
        # A prompt that is too long for its scene may go to a larger model of another one.
        reachable |= {
            name.replace(f"/{ANY_MODEL}", f"/{meaning.model_id}")
            for scene in policy.scenes
            for name in scene.route.target_names
        }
    names = [candidate.name for candidate in decision.candidates]
    assert names
    assert set(names) <= reachable
    assert len(set(names)) == len(names)
    record = record_of(facts, meaning) | decision.as_record()
    written = json.dumps(record)
    assert len(written) < MOST_BYTES
    assert MARK not in written


@RELAXED
@given(BODIES, HEADERS, CONFIGURATIONS, st.integers(0, 4))
def test_a_tool_loop_stays_in_its_scene_under_any_configuration_that_has_it(
    body: dict[str, Any],
    headers: dict[str, str],
    number: int,
    at: int,
) -> None:
    (snapshot, policy), left = configuration(number), session(number)
    loop = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "z", "name": "Bash", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "z", "content": MARK}]},
    ]
    facts = facts_for(validated({**body, "messages": [*body["messages"], *loop]}), headers)
    assert facts.in_tool_loop
    if policy is None or left is None or not policy.scenes or facts.requested_model.partition("/")[1]:
        return
    policy = replace(policy, mode=Policy.Mode.SMART)
    scene = policy.scenes[at % len(policy.scenes)]
    # What an administrator says of a kind holds for it; and what only serves the client is never in a scene.
    of_its_own = facts.kind in policy.kind_rules or rule_for(policy, facts.kind).action == KindRule.Action.CHEAPEST
    if of_its_own or not scene.route.target_names:
        return
    meaning = meaning_for(snapshot, policy, facts, replace(left, scene_name=scene.name))
    assert (meaning.scene_name, meaning.by) == (scene.name, "session")


def turned(value: Any) -> Any:
    """Return the same JSON with the fields of every object in the reverse order."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


@RELAXED
@given(BODIES, HEADERS, CONFIGURATIONS)
def test_the_order_of_fields_changes_nothing(
    body: dict[str, Any],
    headers: dict[str, str],
    number: int,
) -> None:
    (snapshot, policy), left = configuration(number), session(number)
    body = validated(body)
    other_policy = policy and replace(policy, kind_rules=turned(dict(policy.kind_rules)))
    other = replace(snapshot, targets=turned(snapshot.targets), default_policy=other_policy)
    facts, other_facts = facts_for(body, headers), facts_for(turned(body), turned(headers))
    assert other_facts == facts
    decided, again = decide(snapshot, policy, facts, left), decide(other, other_policy, other_facts, left)
    if isinstance(decided, str) or isinstance(again, str):
        assert decided == again
        return
    records = [record_of(facts, meaning) | decision.as_record() for meaning, decision in (decided, again)]
    assert records[0] == records[1]
    assert [each.name for each in decided[1].candidates] == [each.name for each in again[1].candidates]


def test_the_strategies_reach_what_they_are_meant_for() -> None:
    """A fuzz that never gets anywhere would prove nothing."""
    seen = Counter[str]()
    for number in range(400):
        body = {"model": "m", "max_tokens": 300, "messages": [{"role": "user", "content": f"refactor {number} {MARK}"}]}
        (snapshot, policy), left = configuration(number), session(number)
        decided = decide(snapshot, policy, facts_for(body, {}), left)
        seen[decided.partition(":")[0] if isinstance(decided, str) else decided[0].by] += 1
    wanted = {"NoTarget", "PromptTooLong", "alias", "kind", "policy", "rule", "session", "scorer", "default"}
    assert {outcome for outcome, count in seen.items() if count >= 5} >= wanted, seen
