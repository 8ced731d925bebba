"""How the scene of a call is found, cheapest first: rules, the session, the local scorer, a small model, the default.

Within a tool loop the session's scene stays, whatever rules, scorer and clock would say by then: a model that is
changed in the middle of its work has lost the thread, and the prompt cache with it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from routing.intent.classifier import Ask, classify
from routing.intent.facts import Facts, SceneChoice, SessionMemory
from routing.intent.orders import without_orders
from routing.intent.rules import matching
from routing.meaning import default_scene, goes_on, usable_scene
from routing.models import Policy
from routing.snapshot import PolicySnapshot

_UNCLEAR = "no scene is clear from the words"
_WORDLESS = "the request has no words"


def local(
    policy: PolicySnapshot,
    facts: Facts,
    memory: SessionMemory | None,
    local_now: datetime,
    scores: dict[str, float] | None = None,
) -> SceneChoice | None:
    """Return the scene as far as it can be found without asking anybody; None where the small model would be asked.

    `local_now` is in the business time zone. The local scorer's scores go into `scores`, where it was heard. Raises
    `NoTarget` where the policy has no default scene.
    """
    scores = {} if scores is None else scores
    memory = still_valid(policy, facts, memory, local_now)
    # None as well where the scene was deleted, or has lost its targets.
    held = usable_scene(policy, memory.scene_name) if memory is not None else None
    if held is not None and goes_on(policy, facts):
        return SceneChoice(held, "session", "tool loop" if facts.in_tool_loop else facts.kind)
    usable = tuple(scene for scene in policy.scenes if scene.route.target_names)
    if (matched := matching(usable, facts, local_now)) is not None:
        scene, rule = matched
        return SceneChoice(scene, "rule", rule)
    if held is not None and facts.is_approval:
        return SceneChoice(held, "approval")
    if held is not None and policy.stickiness == Policy.Stickiness.SESSION:
        return SceneChoice(held, "session")
    if policy.scorer is not None and (text := without_orders(facts.text, [scene.name for scene in usable]).strip()):
        known = {scene.name for scene in usable}
        scores.update((name, score) for name, score in policy.scorer.scores(text).items() if name in known)
    best = _best(scores)
    confidence = scores[best] if best else None
    is_sure = confidence is not None and confidence >= policy.min_confidence
    if held is not None and (not is_sure or best == held.name):
        return SceneChoice(held, "session", confidence=confidence, scores=scores)
    if is_sure and (sure := usable_scene(policy, best)) is not None:
        return SceneChoice(sure, "scorer", confidence=confidence, scores=scores)
    if facts.text and policy.classifier_names:
        return None
    return SceneChoice(
        default_scene(policy), "default", _UNCLEAR if facts.text else _WORDLESS, confidence=confidence, scores=scores
    )


async def choose(
    policy: PolicySnapshot, facts: Facts, memory: SessionMemory | None, local_now: datetime, ask: Ask
) -> SceneChoice:
    """Return the scene of a call; `ask` asks the small models. Raises `NoTarget`."""
    scores: dict[str, float] = {}
    found = local(policy, facts, memory, local_now, scores)
    if found is not None:
        return found
    name, outcome = await classify(facts.text, policy, ask)
    scene = usable_scene(policy, name or "")
    if scene is not None:
        return SceneChoice(scene, "classifier", scores=scores, classifier=outcome)
    return SceneChoice(default_scene(policy), "default", _UNCLEAR, scores=scores, classifier=outcome)


def still_valid(
    policy: PolicySnapshot, facts: Facts, memory: SessionMemory | None, local_now: datetime
) -> SessionMemory | None:
    """Return the memory of the session unless it is that of another policy, or the session was idle for too long.

    What goes on with something, a tool loop above all, does so however long the tool ran.
    """
    if memory is None or goes_on(policy, facts):
        return memory
    is_idle = local_now - memory.used_at > timedelta(minutes=policy.session_idle_minutes)
    return None if is_idle or memory.policy_name != policy.name else memory


def _best(scores: Mapping[str, float]) -> str:
    return max(scores, key=lambda name: scores[name], default="")
