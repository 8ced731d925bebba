"""The configuration as one immutable value, read once and shared by every call until its version moves."""

import glob
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import time
from fnmatch import translate
from typing import Protocol
from zoneinfo import ZoneInfo

from providers import config_version
from providers.encryption import Undecryptable
from providers.target import SearchBackend, Target
from providers.targets import load_targets
from routing.intent import orders
from routing.intent.scorer import Scorer, UnreadableWeights, fingerprint
from routing.models import ModelAlias, Policy, Route, RuntimeSettings, Scene, TrainedScorer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RouteSnapshot:
    """A route: the names of its targets, in order. Names of disabled targets stay, and are skipped with a reason."""

    name: str
    target_names: tuple[str, ...]
    order: str = Route.Order.PRIORITY
    weights: tuple[int, ...] = ()  # one per target


@dataclass(frozen=True, slots=True)
class SceneRuleSnapshot:
    """A rule of a scene. None and empty: no condition."""

    keywords: tuple[str, ...] = ()  # case-folded
    pattern: str = ""
    min_prompt_tokens: int | None = None
    max_prompt_tokens: int | None = None
    efforts: frozenset[str] = frozenset()
    plan_mode: bool | None = None
    has_image: bool | None = None
    has_pdf: bool | None = None
    has_tools: bool | None = None
    time_from: time | None = None
    time_until: time | None = None
    weekdays: frozenset[int] = frozenset()  # 1 is Monday
    position: int = 0


@dataclass(frozen=True, slots=True)
class SceneSnapshot:
    """A scene that is enabled."""

    name: str
    description: str
    examples: tuple[str, ...]
    route: RouteSnapshot
    is_default: bool = False
    rules: tuple[SceneRuleSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class KindRuleSnapshot:
    """Where the requests of one kind go."""

    action: str  # a KindRule.Action value
    scene_name: str = ""
    route: RouteSnapshot | None = None


@dataclass(frozen=True, slots=True)
class AliasSnapshot:
    """A name pattern, and the route, the single target or the scene behind it."""

    pattern: str
    matches: re.Pattern[str]
    route: RouteSnapshot
    scene_name: str = ""


class LocalScorer(Protocol):
    """What has learnt from the examples of a policy's scenes (routing.intent.scorer)."""

    def scores(self, text: str) -> dict[str, float]:
        """Return how likely each scene is, by name; they add up to 1."""


@dataclass(frozen=True, slots=True)
class PolicySnapshot:
    """How the calls of some keys find their targets: by a route or by scenes. Only the list of the mode is here."""

    pk: int
    name: str
    mode: str
    route: RouteSnapshot | None  # None of a smart policy
    capture: str  # "" as in the settings
    reference: Target | None
    scenes: tuple[SceneSnapshot, ...] = ()  # of a smart policy, in order; the default scene is one of them
    kind_rules: Mapping[str, KindRuleSnapshot] = field(default_factory=dict)
    cheap_route: RouteSnapshot | None = None
    classifier_names: tuple[str, ...] = ()  # of targets
    classifier_timeout_ms: int = 1500
    min_confidence: float = 0.6
    stickiness: str = "turn"
    session_idle_minutes: int = 30
    continues_streams: bool = False
    shadow_pk: int | None = None
    scorer: LocalScorer | None = None  # None: not trained yet, or unreadable

    @property
    def default_scene(self) -> SceneSnapshot | None:
        """The scene that answers where no other does."""
        return next((scene for scene in self.scenes if scene.is_default), None)

    def scene(self, name: str) -> SceneSnapshot | None:
        """Return the scene `name` of this policy."""
        return next((scene for scene in self.scenes if scene.name == name), None)


@dataclass(frozen=True, slots=True)
class SettingsSnapshot:
    """The live settings."""

    capture: str = "metadata"
    capture_retention_days: int = 30
    capture_max_bytes: int = 1024 * 1024
    business_time_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    ping_interval_s: float = 15
    cooldown_enabled: bool = True
    safety_model: Target | None = None  # judges tool calls; None also while the model is disabled
    search: SearchBackend | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that routing a call needs, at one version of the configuration."""

    version: int
    targets: dict[str, Target]
    aliases: tuple[AliasSnapshot, ...] = ()
    policies: dict[int, PolicySnapshot] = field(default_factory=dict)
    default_policy: PolicySnapshot | None = None
    settings: SettingsSnapshot = field(default_factory=SettingsSnapshot)

    def policy(self, *ids: int | None) -> PolicySnapshot | None:
        """Return the first existing policy of `ids` (key, user, team), else the default, else None."""
        for pk in ids:
            if pk is not None and pk in self.policies:
                return self.policies[pk]
        return self.default_policy


def load() -> Snapshot:
    """Read the configuration. The version is read first: a change in between is loaded again on the next call."""
    version = config_version.current()
    row = RuntimeSettings.load()
    zone = ZoneInfo(row.business_time_zone)
    targets = load_targets(zone)
    routes = {route.pk: _route(route) for route in Route.objects.prefetch_related("entries__model__provider")}
    scenes = {
        scene.pk: _scene(scene, routes[scene.route_id])
        for scene in Scene.objects.filter(is_enabled=True).prefetch_related("rules")  # in order
    }
    policies = {
        policy.pk: _policy(policy, routes, scenes, targets)
        for policy in Policy.objects.select_related("reference_model__provider").prefetch_related(
            "scenes", "classifier_entries__model__provider", "kind_rules__scene"
        )
    }
    for policy in policies.values():
        if policy.scenes:
            # Here, off the event loop: the first call would wait for it.
            orders.prepare([scene.name for scene in policy.scenes if scene.route.target_names])
    scorers = _scorers(policies.values())
    policies = {pk: replace(policy, scorer=scorers.get(pk)) for pk, policy in policies.items()}
    default = Policy.objects.filter(is_default=True).values_list("pk", flat=True).first()
    return Snapshot(
        version=version,
        targets=targets,
        aliases=_aliases(routes),
        policies=policies,
        default_policy=policies.get(default) if default is not None else None,
        settings=SettingsSnapshot(
            capture=row.capture,
            capture_retention_days=row.capture_retention_days,
            capture_max_bytes=row.capture_max_bytes,
            business_time_zone=zone,
            ping_interval_s=row.ping_interval_s,
            cooldown_enabled=row.cooldown_enabled,
            safety_model=next((target for target in targets.values() if target.model_pk == row.safety_model_id), None),
            search=_search_backend(row),
        ),
    )


def _route(route: Route) -> RouteSnapshot:
    entries = list(route.entries.all())
    return RouteSnapshot(
        route.name,
        tuple(str(entry.model) for entry in entries),
        route.order,
        tuple(entry.weight for entry in entries),
    )


def _scene(scene: Scene, route: RouteSnapshot) -> SceneSnapshot:
    rules = tuple(
        SceneRuleSnapshot(
            keywords=tuple(keyword.casefold() for keyword in rule.keywords),
            pattern=rule.pattern,
            min_prompt_tokens=rule.min_prompt_tokens,
            max_prompt_tokens=rule.max_prompt_tokens,
            efforts=frozenset(rule.efforts),
            plan_mode=rule.plan_mode,
            has_image=rule.has_image,
            has_pdf=rule.has_pdf,
            has_tools=rule.has_tools,
            time_from=rule.time_from,
            time_until=rule.time_until,
            weekdays=frozenset(rule.weekdays),
            position=rule.position,
        )
        for rule in scene.rules.all()
        if rule.is_enabled
    )
    return SceneSnapshot(scene.name, scene.description, tuple(scene.examples), route, scene.is_default, rules)


def _policy(
    policy: Policy,
    routes: Mapping[int, RouteSnapshot],
    scenes: Mapping[int, SceneSnapshot],
    targets: Mapping[str, Target],
) -> PolicySnapshot:
    chosen = {scene.pk for scene in policy.scenes.all()}
    is_smart = policy.mode == Policy.Mode.SMART
    return PolicySnapshot(
        pk=policy.pk,
        name=policy.name,
        mode=policy.mode,
        # A list of another mode, kept for the day on which that is chosen again, is in nobody's reach.
        route=routes[policy.route_id] if policy.route_id and not is_smart else None,
        capture=policy.capture,
        reference=targets.get(str(policy.reference_model)) if policy.reference_model else None,
        scenes=tuple(scene for pk, scene in scenes.items() if is_smart and (pk in chosen or not chosen)),
        kind_rules={
            rule.kind: KindRuleSnapshot(
                rule.action, rule.scene.name if rule.scene else "", routes[rule.route_id] if rule.route_id else None
            )
            for rule in policy.kind_rules.all()
        },
        cheap_route=routes[policy.cheap_route_id] if policy.cheap_route_id else None,
        classifier_names=tuple(str(entry.model) for entry in policy.classifier_entries.all()),
        classifier_timeout_ms=policy.classifier_timeout_ms,
        min_confidence=policy.min_confidence,
        stickiness=policy.stickiness,
        session_idle_minutes=policy.session_idle_minutes,
        continues_streams=policy.continues_streams,
        shadow_pk=policy.shadow_id,
    )


def _scorers(policies: Iterable[PolicySnapshot]) -> dict[int, Scorer]:
    """Read what was trained for the smart policies. Nothing is trained here: a call may be waiting."""
    wanted = {
        policy.pk: fingerprint(policy.scenes)
        for policy in policies
        if policy.mode == Policy.Mode.SMART and policy.scenes
    }
    if not wanted:
        return {}
    read: dict[str, Scorer] = {}
    rows = TrainedScorer.objects.filter(fingerprint__in=set(wanted.values()))
    for row in rows.only("fingerprint", "weights"):
        try:
            read[row.fingerprint] = Scorer.from_bytes(bytes(row.weights))
        except UnreadableWeights as error:
            logger.error("The scorer %s cannot be used: %s; run `manage.py train_scorers`", row.fingerprint[:12], error)
    return {pk: read[key] for pk, key in wanted.items() if key in read}


def _aliases(routes: Mapping[int, RouteSnapshot]) -> tuple[AliasSnapshot, ...]:
    # A scene that is switched off is none, under whatever name.
    usable = ModelAlias.objects.exclude(scene__is_enabled=False)
    rows = sorted(usable.select_related("model__provider", "scene"), key=_precedence)
    return tuple(
        AliasSnapshot(
            alias.pattern,
            alias_matcher(alias.pattern),
            routes[alias.route_id]
            if alias.route_id
            else routes[alias.scene.route_id]
            if alias.scene
            else RouteSnapshot("", (str(alias.model),)),
            alias.scene.name if alias.scene else "",
        )
        for alias in rows
    )


def _precedence(alias: ModelAlias) -> tuple[bool, int, int, int]:
    """Return a key that asks an exact name before a pattern and a longer pattern before a shorter one.

    So no pattern is hidden by a more general one that was entered before it; the position decides between equals.
    """
    return ("*" in alias.pattern, -len(alias.pattern.replace("*", "")), alias.position, alias.pk)


def alias_matcher(pattern: str) -> re.Pattern[str]:
    """Return the expression for a pattern. Only * is special: a name may well end in [1m]."""
    # translate() makes expressions that do not backtrack, whatever name a client invents.
    return re.compile(translate("*".join(glob.escape(part) for part in pattern.split("*"))))


def _search_backend(row: RuntimeSettings) -> SearchBackend | None:
    if not (row.search_kind and row.search_url):
        return None
    try:
        return SearchBackend(row.search_kind, row.search_url, row.search_secret())
    except Undecryptable:
        logger.error("The search secret cannot be decrypted; web searches are not run")
        return None
