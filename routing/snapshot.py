"""The configuration as one immutable value, read once and shared by every call until its version moves."""

import logging
import re
from dataclasses import dataclass, field
from fnmatch import translate
from zoneinfo import ZoneInfo

from providers import config_version
from providers.encryption import Undecryptable
from providers.target import SearchBackend, Target
from providers.targets import load_targets
from routing.models import ModelAlias, Policy, Route, RuntimeSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RouteSnapshot:
    """A route: the names of its targets, in order. Names of disabled targets stay, and are skipped with a reason."""

    name: str
    target_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AliasSnapshot:
    """A name pattern, and the route or the single target behind it."""

    pattern: str
    matches: re.Pattern[str]
    route: RouteSnapshot


@dataclass(frozen=True, slots=True)
class PolicySnapshot:
    """How the calls of some keys find their targets."""

    pk: int
    name: str
    mode: str
    route: RouteSnapshot | None
    capture: str  # "" as in the settings
    reference: Target | None


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
    targets = load_targets()
    routes = {
        route.pk: RouteSnapshot(route.name, tuple(str(entry.model) for entry in route.entries.all()))
        for route in Route.objects.prefetch_related("entries__model__provider")
    }
    aliases = tuple(
        AliasSnapshot(
            alias.pattern,
            re.compile(translate(alias.pattern)),
            routes[alias.route_id] if alias.route_id else RouteSnapshot("", (str(alias.model),)),
        )
        # An exact name before a pattern, a longer pattern before a shorter one, whatever the order of entry.
        for alias in sorted(
            ModelAlias.objects.select_related("model__provider"),
            key=lambda alias: ("*" in alias.pattern, alias.position, -len(alias.pattern)),
        )
    )
    policies = {
        policy.pk: PolicySnapshot(
            pk=policy.pk,
            name=policy.name,
            mode=policy.mode,
            route=routes[policy.route_id] if policy.route_id else None,
            capture=policy.capture,
            reference=targets.get(str(policy.reference_model)) if policy.reference_model else None,
        )
        for policy in Policy.objects.select_related("reference_model__provider")
    }
    default = Policy.objects.filter(is_default=True).values_list("pk", flat=True).first()
    row = RuntimeSettings.load()
    return Snapshot(
        version=version,
        targets=targets,
        aliases=aliases,
        policies=policies,
        default_policy=policies.get(default) if default is not None else None,
        settings=SettingsSnapshot(
            capture=row.capture,
            capture_retention_days=row.capture_retention_days,
            capture_max_bytes=row.capture_max_bytes,
            business_time_zone=ZoneInfo(row.business_time_zone),
            ping_interval_s=row.ping_interval_s,
            cooldown_enabled=row.cooldown_enabled,
            safety_model=next((target for target in targets.values() if target.model_pk == row.safety_model_id), None),
            search=_search_backend(row),
        ),
    )


def _search_backend(row: RuntimeSettings) -> SearchBackend | None:
    if not (row.search_kind and row.search_url):
        return None
    try:
        return SearchBackend(row.search_kind, row.search_url, row.search_secret())
    except Undecryptable:
        logger.error("The search secret cannot be decrypted; web searches are not run")
        return None
