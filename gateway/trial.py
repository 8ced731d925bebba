"""What would become of a request: the decision of a call, made without asking a model and without booking anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from providers.target import Target
from providers.translation import tokens
from providers.translation.validation import whole_number
from routing import estimate
from routing.intent import chain
from routing.intent.facts import Facts, SceneChoice, SessionMemory
from routing.intent.reading import facts_of
from routing.meaning import Meaning, NoTarget, default_scene, of_scene, usable_scene, without_intent
from routing.order import Health
from routing.record import record_of
from routing.select import Decision, ModelNotAllowed, PromptTooLong, select
from routing.snapshot import PolicySnapshot, Snapshot

# How a scene is found that the user's words might have changed.
_BY_WORDS_OR_NOTHING = frozenset({"default", "session"})


@dataclass(frozen=True, slots=True)
class Trial:
    """What was decided for a request."""

    facts: Facts
    meaning: Meaning | None = None  # None: nothing is configured that could answer
    decision: Decision | None = None  # None: there is no candidate
    refusal: str = ""  # then, what the client would be told
    asks_classifier: bool = False  # a small model would be asked; the decision is that for `classified`, or its silence
    scores: Mapping[str, float] = field(default_factory=dict)  # of the local scorer, where it was heard

    @property
    def target(self) -> Target | None:
        """The target that would be asked first."""
        return self.decision.candidates[0] if self.decision is not None and self.decision.candidates else None

    @property
    def cost(self) -> estimate.Cost | None:
        """What the call is expected to cost on its first target; None: unknown."""
        return estimate.cost_of_call(self.target, self.facts) if self.target is not None else None

    def as_record(self) -> dict[str, Any]:
        """Return the decision as the record of a call would have it."""
        record: dict[str, Any] = {"kind": str(self.facts.kind)}
        if self.meaning is not None:
            record = record_of(self.facts, self.meaning)
        if self.decision is not None:
            record |= self.decision.as_record()
        if self.scores:
            record.setdefault("scores", {name: round(score, 3) for name, score in self.scores.items()})
            record.setdefault("confidence", round(max(self.scores.values()), 3))
        return record


def decide(
    snapshot: Snapshot,
    policy: PolicySnapshot | None,
    facts: Facts,
    local_now: datetime,
    *,
    memory: SessionMemory | None = None,
    allowed: Sequence[str] = (),
    has_own_credential: bool = False,
    downgraded_by: str = "",
    health: Health | None = None,
    seed: str = "",
    classified: str = "",
    recorded: str = "",
) -> Trial:
    """Return what a call with these `facts` would become under `policy`.

    `local_now` is in the business time zone. Where a small model would be asked it is taken to say `classified`, the
    name of a scene; "" for no usable answer, which leads to the default scene. `recorded` is the scene of a request
    whose words nobody kept: it stands for what they would have led to. The rest is as in `select`.
    """
    meaning: Meaning | None = None
    scores: dict[str, float] = {}
    asks = False
    try:
        meaning = without_intent(snapshot, policy, facts, memory=memory, downgraded_by=downgraded_by)
        if meaning is None:
            assert policy is not None  # without one, the line before has raised
            choice = chain.local(policy, facts, memory, local_now, scores)
            if choice is None:
                asks = True
                scene = usable_scene(policy, classified)
                choice = SceneChoice(scene, "classifier") if scene else SceneChoice(default_scene(policy), "default")
            if recorded and choice.by in _BY_WORDS_OR_NOTHING and not (facts.in_tool_loop or facts.is_approval):
                kept = usable_scene(policy, recorded)
                choice = SceneChoice(kept, "recorded") if kept else choice
            meaning = of_scene(facts, choice)
        decision = select(
            snapshot,
            policy,
            meaning,
            facts,
            allowed=allowed,
            has_own_credential=has_own_credential,
            health=health,
            memory=chain.still_valid(policy, facts, memory, local_now) if policy is not None else None,
            seed=seed,
        )
    except (NoTarget, ModelNotAllowed, PromptTooLong) as error:
        return Trial(facts, meaning, None, str(error), asks, scores)
    return Trial(facts, meaning, decision, "", asks, scores)


def facts_of_body(body: dict[str, Any], headers: Mapping[str, str]) -> Facts:
    """Return the facts of a validated request in Messages form, its size by the full estimate.

    Some milliseconds per megabyte, PDF files included: not for the event loop.
    """
    return facts_of(
        body,
        headers,
        prompt_tokens=tokens.estimate(body),
        pdf_tokens=tokens.pdf_tokens(body),
        max_tokens=whole_number(body.get("max_tokens")),
    )


def left_out(body: Mapping[str, Any], text: str, limit: int = 2000) -> str:
    """Return the lines of the user's last message that do not count among his words `text`, up to `limit` characters.

    Reminders, texts of the client and the output of tools do not.
    """
    messages = body.get("messages")
    users = [message for message in messages if message.get("role") == "user"] if isinstance(messages, list) else []
    content = users[-1].get("content") if users else ""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    counted = {line.strip() for line in text.split("\n")}
    lines: list[str] = []
    size = 0
    for block in blocks if isinstance(blocks, list) else ():
        for line in _shown(block).split("\n"):
            if line.strip() and line.strip() not in counted:
                lines.append(line[:limit])
                size += len(lines[-1])
                if size > limit:
                    return "\n".join(lines)[:limit] + " …"
    return "\n".join(lines)


def _shown(block: Any) -> str:
    if not isinstance(block, Mapping):
        return ""
    kind = block.get("type")
    if kind == "text":
        text = block.get("text")
        return text if isinstance(text, str) else ""
    return f"[{kind}]"
