"""Auto mode of Claude Code behind models that cannot judge tool calls themselves: another model does it for them.

In auto mode the client sends `safeguards: [{"type": "dangerous_tool_use", "classifier_context": …}]` and expects a
verdict per tool call with the end of the answer (observed with version 2.1.330): "not_flagged" runs the call, "flagged"
blocks it and shows the explanation, "unavailable" does not run it. No answer at all means that nobody checks in this
session, so a message without tool calls gets an empty one. Whatever goes wrong here is "unavailable", and "not_flagged"
is never said without the safety model having said it of this very call.
"""

import json
import logging
from collections.abc import Collection, Sequence
from typing import Any

from accounts.errors import LedgerUnavailable, Refusal
from gateway import safety_prompt
from gateway.inner_call import ask
from gateway.outcome import Progress
from providers.errors import UpstreamError
from providers.target import Target
from providers.translation.events import ToolUse
from providers.translation.validation import InvalidRequest
from routing.health import Health
from routing.select import PromptTooLong

logger = logging.getLogger(__name__)

SAFEGUARD = "dangerous_tool_use"
# The client waits for the end of its answer meanwhile, with pings.
TIMEOUT_S = 15.0
_MAX_EXPLANATION_CHARACTERS = 300

Verdict = dict[str, str]
_UNAVAILABLE: Verdict = {"type": "unavailable", "reason": "error"}
_NOT_FLAGGED: Verdict = {"type": "evaluated", "outcome": "not_flagged"}


async def judge(call: Progress, cooldowns: Health | None) -> list[dict[str, Any]] | None:
    """Return the `safeguard_results` of an answer that has ended; None if it gets none.

    None where the client asked for none, no safety model is set, or the answer is relayed: then its upstream judges.
    Raises nothing of its own.
    """
    model = call.admitted.snapshot.settings.safety_model
    if model is None or call.opened is None:
        return None
    context, tool_uses = classifier_context(call.upstream_call.body), call.opened.answer.tool_uses
    if context is None or tool_uses is None:
        return None
    verdicts = await _verdicts(call, model, context, tool_uses, cooldowns) if tool_uses else {}
    return [{"type": SAFEGUARD, "status": {"type": "available", "tool_uses": verdicts}}]


def classifier_context(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the client tells the judge of its calls; None where it asks for no verdicts."""
    safeguards = body.get("safeguards")
    for safeguard in safeguards if isinstance(safeguards, list) else ():
        if isinstance(safeguard, dict) and safeguard.get("type") == SAFEGUARD:
            context = safeguard.get("classifier_context")
            return context if isinstance(context, dict) else {}
    return None


async def _verdicts(
    call: Progress,
    model: Target,
    context: dict[str, Any],
    tool_uses: Sequence[ToolUse],
    cooldowns: Health | None,
) -> dict[str, Verdict]:
    """Return the verdict of each call by its id, "unavailable" for those that could not be judged."""
    verdicts = dict.fromkeys((use.id for use in tool_uses), _UNAVAILABLE)
    try:
        question = safety_prompt.question(
            context, call.upstream_call.body["messages"], tool_uses, is_subagent=bool(call.received.agent_id)
        )
        if question.ids:
            body = safety_prompt.request(question, takes_format=model.wire_format == "openai")
            answer = await ask(call, "safety", [model], body, timeout_s=TIMEOUT_S, cooldowns=cooldowns)
            said = parse(answer.text, question.ids)
            verdicts |= {question.ids[label]: verdict for label, verdict in said.items()}
    except (Refusal, LedgerUnavailable, UpstreamError, InvalidRequest, PromptTooLong) as error:
        logger.warning("the tool calls are not judged: %s", error)
    except RecursionError:
        logger.warning("the tool calls are not judged: they are nested too deeply")
    outcomes = [verdict.get("outcome", "unavailable") for verdict in verdicts.values()]
    logger.info("tool calls judged: %s", ", ".join(outcomes))
    return verdicts


def parse(text: str, labels: Collection[str]) -> dict[str, Verdict]:
    """Return the verdicts in a safety model's answer, by label; a label that has no clear one is left out.

    The answer is one JSON object, at most in a code fence. Nothing counts but the two words, once per label.
    """
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.removeprefix("```").removeprefix("json").removesuffix("```")
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return {}
    entries = document.get("verdicts") if isinstance(document, dict) else None
    found: dict[str, Verdict | None] = {}
    for entry in entries if isinstance(entries, list) else ():
        label = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(label, str) and label in labels:
            # Two verdicts on one call are none.
            found[label] = None if label in found else _verdict(entry)
    return {label: verdict for label, verdict in found.items() if verdict is not None}


def _verdict(entry: dict[str, Any]) -> Verdict | None:
    match entry.get("outcome"):
        case "not_flagged":
            return _NOT_FLAGGED
        case "flagged":
            explanation = entry.get("explanation")
            line = " ".join(explanation.split()) if isinstance(explanation, str) else ""
            line = "".join(character for character in line if character.isprintable())[:_MAX_EXPLANATION_CHARACTERS]
            return {
                "type": "evaluated",
                "outcome": "flagged",
                "explanation": line or "The safety classifier gave no reason.",
            }
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        # Readers differ in which of two members counts.
        raise ValueError("repeated member")
    return document
