"""What a call means: the targets behind the name that it asks for, those for its kind, or those of its scene.

without_intent  what needs no look at the user's words: a name that stands for a target, a rule for the kind, an
                alias, a policy without scenes; None where the intent decides
of_scene        the targets of the scene that the intent has chosen (routing.intent.chain)
"""

from dataclasses import dataclass, replace

from providers.target import ANY_MODEL
from routing.intent.facts import Facts, SceneChoice, SessionMemory
from routing.models import KindRule, Policy, RequestKind, Route
from routing.snapshot import AliasSnapshot, KindRuleSnapshot, PolicySnapshot, RouteSnapshot, SceneSnapshot, Snapshot

_CHEAPEST = KindRuleSnapshot(KindRule.Action.CHEAPEST)
_SAME = KindRuleSnapshot(KindRule.Action.SAME)
_CLASSIFY = KindRuleSnapshot(KindRule.Action.CLASSIFY)
# Where kinds go that a policy has no rule for: what only serves the client itself needs no good model, and what goes
# on with a conversation stays where the conversation is.
_DEFAULTS: dict[str, KindRuleSnapshot] = {
    RequestKind.TITLE: _CHEAPEST,
    RequestKind.PROBE: _CHEAPEST,
    RequestKind.PERMISSION: _CHEAPEST,
    RequestKind.TOOL_RESULT: _SAME,
    RequestKind.COMPACTION: _SAME,
    RequestKind.WEB_SEARCH: _SAME,
}
# Ways to come to targets that nobody has asked for outright.
_BY_INTENT = frozenset({"kind", "rule", "session", "approval", "scorer", "classifier", "recorded", "default"})


class NoTarget(Exception):
    """Nothing is configured that could answer the call."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The targets that a call means, and why."""

    route: RouteSnapshot
    reason: str
    model_id: str  # what a target for any model is asked for
    is_passthrough: bool = False
    scene_name: str = ""
    by: str = ""  # what decided: "named", "kind", "alias", "policy", "quota", or how the scene was found
    rule: str = ""  # which rule, where it was one: of a scene, for a kind, an alias
    order: str = ""  # overrides that of the route (a Route.Order value)
    choice: SceneChoice | None = None  # how the scene was found, where the intent decided
    downgraded_by: str = ""  # the full quota, in words, if it is what decided


def rule_for(policy: PolicySnapshot, kind: str) -> KindRuleSnapshot:
    """Return where a smart policy sends requests of `kind`: by its own rule, or where they go by themselves."""
    return policy.kind_rules.get(kind) or _DEFAULTS.get(kind, _CLASSIFY)


def goes_on(policy: PolicySnapshot, facts: Facts) -> bool:
    """Say whether the request belongs to what is going on, rather than beginning something of its own."""
    return facts.in_tool_loop or rule_for(policy, facts.kind).action == KindRule.Action.SAME


def meaning_of(
    snapshot: Snapshot,
    policy: PolicySnapshot | None,
    facts: Facts,
    choice: SceneChoice | None = None,
    *,
    memory: SessionMemory | None = None,
    downgraded_by: str = "",
) -> Meaning:
    """Return what a call with these `facts` stands for; where the intent decides, by `choice` or the default scene.

    Raises `NoTarget`.
    """
    found = without_intent(snapshot, policy, facts, memory=memory, downgraded_by=downgraded_by)
    if found is not None:
        return found
    assert policy is not None
    return of_scene(facts, choice or SceneChoice(default_scene(policy), "default"))


def without_intent(
    snapshot: Snapshot,
    policy: PolicySnapshot | None,
    facts: Facts,
    *,
    memory: SessionMemory | None = None,
    downgraded_by: str = "",
) -> Meaning | None:
    """Return what a call stands for whatever the user's words are; None where they decide. Raises `NoTarget`.

    What goes on in a scene, by the `memory` of its session, stays there: an alias is for what begins. `downgraded_by`
    names a full quota, which overrides everything but a policy that passes calls through.
    """
    requested = facts.requested_model
    is_passthrough = policy is not None and policy.mode == Policy.Mode.PASSTHROUGH
    if downgraded_by and policy is not None and not is_passthrough:
        reason = f"quota used up ({downgraded_by})"
        return _cheapest(policy, reason, requested, by="quota", downgraded_by=downgraded_by)
    if policy is None or policy.mode != Policy.Mode.SMART:
        # Whatever the policy says, a name that stands for something does.
        if found := _by_alias(snapshot, policy, requested) or _by_name(snapshot, requested):
            return found
        if policy is None:
            raise NoTarget("No routing policy is set up. Ask your administrator to make one.")
        if policy.route is None:
            raise NoTarget(f"The policy {policy.name} has no route. Ask your administrator to choose one.")
        return Meaning(policy.route, f"policy {policy.name}", requested, is_passthrough, by="policy")
    if found := _by_name(snapshot, requested) or _by_kind(policy, facts):
        return found
    if memory is not None and goes_on(policy, facts) and usable_scene(policy, memory.scene_name) is not None:
        return None
    return _by_alias(snapshot, policy, requested)


def of_scene(facts: Facts, choice: SceneChoice) -> Meaning:
    """Return the meaning of a call whose scene the intent has chosen."""
    scene, reason = choice.scene, f"scene {choice.scene.name} by {choice.by}"
    rule = choice.detail if choice.by == "rule" else ""
    return Meaning(
        scene.route, reason, facts.requested_model, scene_name=scene.name, by=choice.by, rule=rule, choice=choice
    )


def usable_scene(policy: PolicySnapshot, name: str) -> SceneSnapshot | None:
    """Return the scene `name` of a policy; None also for one that has lost its targets."""
    scene = policy.scene(name) if name else None
    return scene if scene is not None and scene.route.target_names else None


def other_scenes(policy: PolicySnapshot | None, meaning: Meaning) -> Meaning:
    """Return the targets of the other scenes of `policy`, the default scene's first.

    None of them where the client, an alias or a full quota said outright what is to answer.
    """
    scenes = policy.scenes if policy is not None and meaning.by in _BY_INTENT else ()
    names = dict.fromkeys(
        name
        for scene in sorted(scenes, key=lambda scene: not scene.is_default)
        for name in scene.route.target_names
        if name not in meaning.route.target_names
    )
    return replace(meaning, route=RouteSnapshot("", tuple(names)))


def default_scene(policy: PolicySnapshot) -> SceneSnapshot:
    """Return the scene that answers where no other does. Raises `NoTarget`."""
    if not policy.scenes:
        raise NoTarget(
            f"The policy {policy.name} routes by intent and has no scenes. Ask your administrator to add some."
        )
    scene = policy.default_scene
    if scene is None:
        raise NoTarget(
            f"The policy {policy.name} has no default scene. Ask your administrator to make one of its scenes that."
        )
    return scene


def _by_name(snapshot: Snapshot, requested: str) -> Meaning | None:
    provider, _, model_id = requested.partition("/")
    if model_id and model_id != ANY_MODEL:
        for name in (requested, f"{provider}/{ANY_MODEL}"):
            if name in snapshot.targets:
                return Meaning(RouteSnapshot("", (name,)), "named by the client", model_id, by="named")
    return None


def _by_alias(snapshot: Snapshot, policy: PolicySnapshot | None, requested: str) -> Meaning | None:
    alias = next((alias for alias in snapshot.aliases if alias.matches.match(requested)), None)
    if alias is None:
        return None
    return Meaning(
        alias.route,
        f"alias {alias.pattern}",
        requested,
        scene_name=_scene_of(alias, policy),
        by="alias",
        rule=alias.pattern,
    )


def _scene_of(alias: AliasSnapshot, policy: PolicySnapshot | None) -> str:
    # A policy that has no scenes makes nothing of the name of one.
    return alias.scene_name if policy is not None and policy.mode == Policy.Mode.SMART else ""


def _by_kind(policy: PolicySnapshot, facts: Facts) -> Meaning | None:
    """Return where a rule for the kind sends the request; None where it is treated by its name and its intent."""
    rule, reason = rule_for(policy, facts.kind), f"kind {facts.kind}"
    if rule.action == KindRule.Action.CHEAPEST:
        return _cheapest(policy, reason, facts.requested_model, by="kind", rule=rule.action)
    if rule.action == KindRule.Action.ROUTE and rule.route is not None:
        return Meaning(rule.route, reason, facts.requested_model, by="kind", rule=rule.action)
    if rule.action == KindRule.Action.SCENE and (scene := usable_scene(policy, rule.scene_name)) is not None:
        return Meaning(scene.route, reason, facts.requested_model, scene_name=scene.name, by="kind", rule=rule.action)
    return None


def _cheapest(
    policy: PolicySnapshot, reason: str, requested: str, *, by: str, rule: str = "", downgraded_by: str = ""
) -> Meaning:
    if policy.cheap_route is not None:
        return Meaning(policy.cheap_route, reason, requested, by=by, rule=rule, downgraded_by=downgraded_by)
    routes = [scene.route for scene in policy.scenes]
    if policy.mode != Policy.Mode.SMART:
        routes = [policy.route] if policy.route is not None else []
    names = tuple(dict.fromkeys(name for route in routes for name in route.target_names))
    # What stands for any model would be asked for whatever the client names.
    names = tuple(name for name in names if not name.endswith(f"/{ANY_MODEL}")) or names
    if not names:
        default_scene(policy)  # says what is missing
        raise NoTarget(f"The scenes of the policy {policy.name} have no targets. Ask your administrator to add some.")
    route = RouteSnapshot("", names)
    return Meaning(route, reason, requested, by=by, rule=rule, order=Route.Order.CHEAPEST, downgraded_by=downgraded_by)
