"""How a decision came about, as the record of its call keeps it: for people to read, and to be decided again later."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.translation.validation import whole_number
from routing.intent.facts import Facts
from routing.meaning import Meaning

_FLAGS = ("is_approval", "in_tool_loop", "has_history", "plan_mode", "has_image", "has_pdf", "has_tools")


def record_of(facts: Facts, meaning: Meaning) -> dict[str, Any]:
    """Return the kind, the scene and what decided, with the facts that it was decided by; nothing of the prompt."""
    record: dict[str, Any] = {"kind": str(facts.kind), "by": meaning.by}
    choice = meaning.choice
    found = {
        "rule": str(meaning.rule),
        "scene": meaning.scene_name,
        "detail": choice.detail if choice else "",
        "classifier": choice.classifier if choice else "",
        "downgraded_by": meaning.downgraded_by,
    }
    record |= {name: value for name, value in found.items() if value}
    if choice is not None and choice.confidence is not None:
        record["confidence"] = round(choice.confidence, 3)
    if choice is not None and choice.scores:
        record["scores"] = {name: round(score, 3) for name, score in choice.scores.items()}
    record["facts"] = _facts(facts)
    return record


def _facts(facts: Facts) -> dict[str, Any]:
    """Return what a decision can be made of again, without what is absent."""
    values: dict[str, Any] = {
        "prompt_tokens": facts.prompt_tokens,
        "max_tokens": facts.max_tokens,
        "pdf_tokens": facts.pdf_tokens,
        "needs": sorted(facts.needs),
        "effort": facts.effort,
        **{name: getattr(facts, name) for name in _FLAGS},
    }
    if facts.text:
        # Tells whether two calls had the same words, not which.
        values["text_sha"] = hashlib.sha256(facts.text.encode("utf-8", "replace")).hexdigest()[:16]
    return {name: value for name, value in values.items() if value}


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
