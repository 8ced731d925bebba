"""Which model answers a call: policies, routes, scenes, aliases, and the settings an administrator changes live."""

from routing.models.policies import CaptureMode, ClassifierEntry, Policy
from routing.models.routes import ModelAlias, Route, RouteEntry
from routing.models.scenes import Scene
from routing.models.settings import RuntimeSettings, SearchKind, validate_search_url, validate_time_zone

__all__ = [
    "CaptureMode",
    "ClassifierEntry",
    "ModelAlias",
    "Policy",
    "Route",
    "RouteEntry",
    "RuntimeSettings",
    "Scene",
    "SearchKind",
    "validate_search_url",
    "validate_time_zone",
]
