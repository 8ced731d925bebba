"""Which model answers a call: policies, routes, scenes, aliases, and the settings an administrator changes live."""

from routing.models.aliases import ModelAlias
from routing.models.policies import CaptureMode, ClassifierEntry, KindRule, Policy, RequestKind
from routing.models.routes import Route, RouteEntry
from routing.models.scenes import Effort, Scene, SceneRule, TrainedScorer
from routing.models.settings import RuntimeSettings, SearchKind, validate_search_url, validate_time_zone
from routing.models.state import StickySession, TargetHealth

__all__ = [
    "CaptureMode",
    "ClassifierEntry",
    "Effort",
    "KindRule",
    "ModelAlias",
    "Policy",
    "RequestKind",
    "Route",
    "RouteEntry",
    "RuntimeSettings",
    "Scene",
    "SceneRule",
    "SearchKind",
    "StickySession",
    "TargetHealth",
    "TrainedScorer",
    "validate_search_url",
    "validate_time_zone",
]
