"""How a decision came about, as the record of its call keeps it: for people to read, and to be decided again later."""

import hashlib
from typing import Any

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
