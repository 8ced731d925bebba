"""How the targets of a call are found where its intent decides: routing.intent.chain, with a clock and small models."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.utils import timezone

from accounts.errors import LedgerUnavailable, Refusal
from gateway import inner_call
from gateway.incoming import Received
from gateway.outcome import Progress
from gateway.trial import decide
from routing import estimate
from routing.health import Health
from routing.intent import chain
from routing.intent.classifier import NotAsked
from routing.intent.facts import Facts, SessionMemory
from routing.intent.question import without_format
from routing.intent.sessions import loop_id
from routing.meaning import Meaning, NoTarget, goes_on, of_scene, without_intent
from routing.models import RequestKind
from routing.snapshot import Snapshot

logger = logging.getLogger(__name__)


def local_now(snapshot: Snapshot) -> datetime:
    """Return the time in the business time zone, which rules by time of day go by."""
    return timezone.now().astimezone(snapshot.settings.business_time_zone)


def sessions_of(received: Received, kind: str) -> tuple[str, ...]:
    """Return what the memory of a call is looked for under, the closest first.

    Whether its policy asks for that is known with admission only: what this worker knew before may be out of date.
    """
    session = received.session_id()
    if kind == RequestKind.SUBAGENT and not received.agent_id:
        # An agent without a name in the session of its user: only its messages tell it from the others.
        return (session + loop_id(received.body["messages"]),)
    if not session:
        return (loop_id(received.body["messages"]),)
    if not received.names_session:
        # The name of a cache may well be the same in all conversations of a program.
        return (session + loop_id(received.body["messages"]), session)
    return (session,)


async def meaning_of_call(call: Progress, facts: Facts, cooldowns: Health | None) -> Meaning:
    """Return what `call` stands for; a small model is asked only where nothing else decides. Raises `NoTarget`."""
    admitted, memory = call.admitted, _memory(call, facts)
    found = without_intent(
        admitted.snapshot, admitted.policy, facts, memory=memory, downgraded_by=admitted.downgraded_by
    )
    if found is not None:
        return found
    assert admitted.policy is not None

    async def ask(body: dict[str, Any], target_names: Sequence[str], timeout_s: float) -> str:
        return await _ask(call, body, target_names, timeout_s, cooldowns)

    now = local_now(admitted.snapshot)
    return of_scene(facts, await chain.choose(admitted.policy, facts, memory, now, ask))


def session_memory(call: Progress, facts: Facts) -> SessionMemory | None:
    """Return what the session of a call goes on with."""
    admitted, memory = call.admitted, _memory(call, facts)
    if admitted.policy is None or memory is None:
        return None
    return chain.still_valid(admitted.policy, facts, memory, local_now(admitted.snapshot))


def _memory(call: Progress, facts: Facts) -> SessionMemory | None:
    """Return what is remembered of the session of a call.

    Without a session only the messages are known: the same request sent again is a new one, not a session that stays.
    """
    admitted = call.admitted
    if admitted.memory is None or admitted.policy is None or call.upstream_call.session_id:
        return admitted.memory
    return admitted.memory if facts.is_approval or goes_on(admitted.policy, facts) else None


def seed_of(call: Progress) -> str:
    """Return what draws among targets are made by: the same for all calls of a session."""
    admitted = call.admitted
    if admitted.session_keys:
        return admitted.session_keys[0]
    return f"{admitted.user_id} {call.upstream_call.session_id or call.request_id}"


def shadow_record(call: Progress, facts: Facts, meaning: Meaning, cooldowns: Health | None) -> dict[str, Any] | None:
    """Return what the shadow of the policy in force would have chosen; None where there is no shadow.

    Its small model is not asked: it is taken to say what was chosen for the call. Raises nothing.
    """
    admitted = call.admitted
    snapshot, policy = admitted.snapshot, admitted.policy
    shadow = snapshot.policies.get(policy.shadow_pk) if policy is not None and policy.shadow_pk else None
    if shadow is None:
        return None
    # Its own session would be in the same scene; which of its targets had it, nobody knows.
    memory = _memory(call, facts)
    if memory is not None:
        memory = replace(memory, policy_name=shadow.name, target_name="")
    try:
        trial = decide(
            snapshot,
            shadow,
            facts,
            local_now(snapshot),
            memory=memory,
            allowed=admitted.allowed_models,
            has_own_credential=bool(call.upstream_call.client_credential),
            downgraded_by=admitted.downgraded_by,
            health=cooldowns,
            seed=seed_of(call),
            classified=meaning.scene_name,
        )
    except Exception:
        # Whatever is wrong with a policy that is only tried out, the call goes on.
        logger.exception("the shadow policy %s could not decide", shadow.name)
        return {"policy": shadow.name, "error": "internal error"}
    if trial.meaning is None or trial.target is None:
        return {"policy": shadow.name, "error": trial.refusal[:200]}
    other = trial.meaning
    return {
        "policy": shadow.name,
        "scene": other.scene_name,
        "by": other.by,
        "rule": str(other.rule),
        "target": trial.target.name,
        "estimated": estimate.written(trial.cost) if trial.cost else "",
    }


async def _ask(
    call: Progress, body: dict[str, Any], target_names: Sequence[str], timeout_s: float, cooldowns: Health | None
) -> str:
    """Return what one of the small models `target_names` says; see `routing.intent.classifier.Ask`."""
    targets = call.admitted.snapshot.targets
    found = [targets[name] for name in target_names if name in targets]
    if not found:
        raise NoTarget("The classifier model is disabled.")
    if found[0].wire_format == "anthropic":
        body = without_format(body)
    try:
        answer = await inner_call.ask(call, "classifier", found, body, timeout_s=timeout_s, cooldowns=cooldowns)
    except (Refusal, LedgerUnavailable) as error:
        raise NotAsked(str(error)) from error
    return answer.text
