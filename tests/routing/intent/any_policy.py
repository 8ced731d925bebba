"""Whatever an administrator may configure, and whatever a session may have left behind, made from a number."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from random import Random

from providers.target import Target
from routing.intent.facts import SessionMemory
from routing.models import Effort, KindRule, Policy, RequestKind, Route
from routing.snapshot import (
    AliasSnapshot,
    KindRuleSnapshot,
    PolicySnapshot,
    RouteSnapshot,
    SceneRuleSnapshot,
    SceneSnapshot,
    Snapshot,
    alias_matcher,
)
from tests.accounts.books import PRICE, target

NOW = datetime(2026, 11, 26, 11, 30, tzinfo=UTC)
SCENES = ("chat", "code", "hard", "难题", "draft")
TARGETS = ("up/a", "up/b", "alt/c", "alt/qwen/q:free", "any/*")
MISSING = "gone/x"  # disabled, or deleted meanwhile
_KINDS = [kind for kind in RequestKind.values if kind != RequestKind.COUNT]
_PATTERNS = ("*", "claude-*", "claude-haiku-*", "opus[1m]", "模型")


@dataclass(frozen=True, slots=True)
class Scorer:
    """Has an opinion on every text, also of scenes that are gone."""

    names: tuple[str, ...]

    def scores(self, text: str) -> dict[str, float]:
        digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        parts = {name: 1 + digest[index] ** 3 for index, name in enumerate(self.names)}
        return {name: part / sum(parts.values()) for name, part in parts.items()}


def _some(random: Random, names: tuple[str, ...], at_least: int = 0) -> tuple[str, ...]:
    return tuple(random.sample(names, random.randint(at_least, len(names))))


def _route(random: Random) -> RouteSnapshot:
    names = _some(random, (*TARGETS, MISSING), random.random() > 0.1)
    weights = tuple(random.randint(1, 9) for _name in names) if random.random() > 0.5 else ()
    return RouteSnapshot("a-route", names, random.choice(Route.Order.values), weights)


def _perhaps(random: Random) -> bool | None:
    return random.choice((None, None, None, None, True, False))


def _rule(random: Random) -> SceneRuleSnapshot:
    tokens = (None, None, None, 0, 40, 3000)
    return SceneRuleSnapshot(
        keywords=random.choice(((), ("refactor",), ("重构", "a"), ("ß",))),
        pattern=random.choice(("", "", r"\d{3}", "(?i)fix|修", r"^\s*$")),
        min_prompt_tokens=random.choice(tokens),
        max_prompt_tokens=random.choice(tokens),
        efforts=frozenset(random.choice(((), (), ("high", "max"), Effort.values))),
        plan_mode=_perhaps(random),
        has_image=_perhaps(random),
        has_pdf=_perhaps(random),
        has_tools=_perhaps(random),
        time_from=random.choice((None, None, time(22, 0), time(9, 0))),
        time_until=time(18, 0),
        weekdays=frozenset(random.choice(((), (), (4,), (1, 7)))),
        position=random.randint(0, 3),
    )


def _scenes(random: Random) -> tuple[SceneSnapshot, ...]:
    chosen = _some(random, SCENES, random.random() > 0.1)
    names = [name for name in SCENES if name in chosen]  # each order of names costs the compiling of its own patterns
    default = random.choice(names) if names and random.random() > 0.1 else None
    return tuple(
        SceneSnapshot(
            name, "", (), _route(random), name == default, tuple(_rule(random) for _ in range(random.randint(0, 2)))
        )
        for name in names
    )


def _kind_rule(random: Random) -> KindRuleSnapshot:
    route = _route(random) if random.random() > 0.3 else None
    return KindRuleSnapshot(random.choice(KindRule.Action.values), random.choice(("", *SCENES)), route)


def _policy(random: Random) -> PolicySnapshot:
    modes = [Policy.Mode.SMART] * 6 + [Policy.Mode.DIRECT, Policy.Mode.PASSTHROUGH]
    return PolicySnapshot(
        pk=1,
        name=random.choice(("default", "团队")),
        mode=random.choice(modes),
        route=_route(random) if random.random() > 0.2 else None,
        capture="",
        reference=random.choice((None, target("up/b"))),
        scenes=_scenes(random),
        kind_rules={kind: _kind_rule(random) for kind in random.sample(_KINDS, random.choice((0, 0, 1, 3)))},
        cheap_route=_route(random) if random.random() > 0.5 else None,
        classifier_names=random.choice(((), TARGETS[:2])),
        min_confidence=random.choice((0.0, 0.4, 0.6, 1.0)),
        stickiness=random.choice(Policy.Stickiness.values),
        session_idle_minutes=random.choice((1, 30)),
        scorer=random.choice((None, Scorer((*_some(random, SCENES), "of yesterday")))),
    )


def _model(random: Random, name: str) -> Target:
    return target(
        name,
        context_window=random.choice((None, None, 1, 50, 4000, 200_000)),
        max_output_tokens=random.choice((None, 1, 4000)),
        capabilities=random.choice((None, frozenset(), frozenset({"tools"}), frozenset({"tools", "vision", "pdf"}))),
        price=random.choice((None, PRICE)),
        wire_format=random.choice(("openai", "anthropic")),
        kind=random.choice(("openai_compatible", "ollama")),
        forwards_client_credential=random.random() > 0.8,
    )


def configuration(number: int) -> tuple[Snapshot, PolicySnapshot | None]:
    """Return configuration `number`, and the policy of it that a call goes by."""
    random = Random(number)
    policy = _policy(random) if random.random() > 0.03 else None
    targets = {name: _model(random, name) for name in _some(random, TARGETS, 2)}
    aliases = tuple(
        AliasSnapshot(pattern, alias_matcher(pattern), _route(random), random.choice(("", *SCENES)))
        for pattern in random.sample(_PATTERNS, random.choice((0, 0, 1, 2)))
    )
    return Snapshot(1, targets, aliases, {1: policy} if policy else {}, policy), policy


def session(number: int) -> SessionMemory | None:
    """Return what the session of configuration `number` left, if anything."""
    random = Random(f"session {number}")
    return random.choice(
        (
            None,
            SessionMemory(
                random.choice(("", "of yesterday", *SCENES)),
                random.choice(("", MISSING, *TARGETS)),
                random.choice(("default", "团队", "gone")),
                NOW - random.choice((timedelta(), timedelta(minutes=5), timedelta(days=3), -timedelta(hours=1))),
            ),
        )
    )
