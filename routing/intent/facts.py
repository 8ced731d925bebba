"""What routing goes by: the facts of a request, the memory of its session, and the scene chosen from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from routing.models import RequestKind
from routing.snapshot import SceneSnapshot


@dataclass(frozen=True, slots=True)
class Facts:
    """A request as routing sees it. Nothing here holds more of the prompt than `text`."""

    requested_model: str
    kind: str = RequestKind.MAIN
    text: str = ""  # the user's own words, without reminders, tool output and client text; cut to MAX_TEXT characters
    is_approval: bool = False  # the words only agree to what was proposed: the scene of the proposal stays
    in_tool_loop: bool = False  # the last message brings tool results
    has_history: bool = False  # the user has said something before these words
    prompt_tokens: int = 0
    max_tokens: int | None = None  # of output, as the client asks
    pdf_tokens: int = 0  # the part of prompt_tokens that is PDF files
    needs: frozenset[str] = frozenset()  # capabilities, as providers.translation.needs names them
    effort: str = ""  # output_config.effort, or what a thinking budget or reasoning_effort amounts to
    plan_mode: bool = False
    has_image: bool = False
    has_pdf: bool = False
    has_tools: bool = False


@dataclass(frozen=True, slots=True)
class SessionMemory:
    """What the last turn of the session left: read with admission, written with settlement."""

    scene_name: str
    target_name: str
    policy_name: str
    used_at: datetime


@dataclass(frozen=True, slots=True)
class SceneChoice:
    """The scene of a call, and how it was found."""

    scene: SceneSnapshot
    by: str  # "kind", "alias", "rule", "session", "approval", "scorer", "classifier", "default"
    detail: str = ""  # the rule, the alias, the reason why nothing better was found
    confidence: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)  # of the local scorer, by scene name; they add up to 1
    classifier: str = ""  # the outcome of asking the small model: "", "hit", "cached", "timeout", "invalid", "open", …
