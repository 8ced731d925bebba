"""How a decision came about, as the record of its call keeps it: for people to read, and to be decided again later."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.translation.validation import whole_number
from routing.intent.facts import Facts, SceneChoice
from routing.meaning import Meaning

_FLAGS = ("is_approval", "in_tool_loop", "has_history", "plan_mode", "has_image", "has_pdf", "has_tools")
_KEPT = ("prompt_tokens", "max_tokens", "pdf_tokens", "effort", *_FLAGS)


def record_of(facts: Facts, meaning: Meaning) -> dict[str, Any]:
    """Return the kind, the scene and what decided, with the facts that it was decided by; nothing of the prompt."""
    record: dict[str, Any] = {"kind": str(facts.kind), "by": meaning.by}
    choice = meaning.choice
    if meaning.rule:
        record["rule"] = str(meaning.rule)
    if meaning.scene_name:
        record["scene"] = meaning.scene_name
    if meaning.downgraded_by:
        record["downgraded_by"] = meaning.downgraded_by
    if choice is not None:
        record |= _of_choice(choice)
    record["facts"] = _facts(facts)
    return record


def _of_choice(choice: SceneChoice) -> dict[str, Any]:
    record: dict[str, Any] = {}
    if choice.detail:
        record["detail"] = choice.detail
    if choice.classifier:
        record["classifier"] = choice.classifier
    if choice.confidence is not None:
        record["confidence"] = round(choice.confidence, 3)
    if choice.scores:
        record["scores"] = {name: round(score, 3) for name, score in choice.scores.items()}
    return record


def _facts(facts: Facts) -> dict[str, Any]:
    """Return what a decision can be made of again, without what is absent."""
    values: dict[str, Any] = {name: value for name in _KEPT if (value := getattr(facts, name))}
    if facts.needs:
        values["needs"] = sorted(facts.needs)
    if facts.text:
        # Tells whether two calls had the same words, not which.
        values["text_sha"] = hashlib.sha256(facts.text.encode("utf-8", "replace")).hexdigest()[:16]
    return values


def facts_of_record(kept: Mapping[str, Any], *, requested_model: str, kind: str, prompt_tokens: int) -> Facts:
    """Return the facts that a record keeps; of what it does not hold, those given, else nothing.

    `kept` is of the version that wrote it: any part may be absent, or of another shape.
    """
    needs = kept.get("needs")
    facts = Facts(
        requested_model=requested_model,
        kind=kind,
        prompt_tokens=whole_number(kept.get("prompt_tokens")) or prompt_tokens,
        max_tokens=whole_number(kept.get("max_tokens")),
        pdf_tokens=whole_number(kept.get("pdf_tokens")) or 0,
        needs=frozenset(str(need) for need in needs) if isinstance(needs, list) else frozenset(),
        effort=str(kept.get("effort") or ""),
    )
    flags: dict[str, Any] = {name: True for name in _FLAGS if kept.get(name) is True}
    return replace(facts, **flags)
