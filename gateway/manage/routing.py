"""Routing: policies, routes, scenes, aliases and settings, read and written as a configuration file has them."""

from typing import Annotated, Any, Literal

from django.shortcuts import get_object_or_404
from ninja import Body as JsonBody
from ninja import Path, Query, Router, Schema
from pydantic import Field

from gateway.config.apply import Refused, apply_values
from gateway.config.export import routing_sections
from gateway.config.schema import VERSION
from gateway.manage.auth import Caller
from gateway.manage.errors import ManageError, of_config
from gateway.manage.operations import Body, Text, operation
from gateway.manage.writing import apply_entry, apply_sections
from routing.models import Policy, Route, Scene

router = Router(tags=["routing"])
Mode = Literal["passthrough", "direct", "smart"]
Entry = dict[str, Any]
Name = Annotated[str, Field(max_length=200)]
# Fields of an entry, as a configuration file has them. What is absent stays.
Fields = JsonBody[dict[str, Any]]
_AS_IN_A_FILE = "Fields as in the section of a configuration file; see the documentation of `apply_config`."


class RoutingOut(Schema):
    """How calls find their targets. Each entry is as a configuration file has it; defaults are left out."""

    routes: list[Entry] = Field(examples=[[{"name": "everyday", "order": "priority", "targets": ["main/big"]}]])
    aliases: list[Entry] = Field(examples=[[{"pattern": "claude-haiku-*", "target": "main/small"}]])
    scenes: list[Entry] = Field(examples=[[{"name": "code", "description": "Writing code", "route": "everyday"}]])
    policies: list[Entry] = Field(examples=[[{"name": "default", "mode": "smart", "scenes": ["code"]}]])
    settings: Entry


class RoutingIn(Body):
    """Sections to be written; one that is absent stays as it is."""

    routes: list[Entry] = []
    aliases: list[Entry] = []
    scenes: list[Entry] = []
    policies: list[Entry] = []
    settings: Entry = {}


class PutQuery(Schema):
    """How to write."""

    dry_run: bool = Field(False, description="Only say what would change.")
    prune: bool = Field(False, description="Remove what a section of the body does not name.")


class Changed(Schema):
    """What changed, a line for each row."""

    changes: list[str] = Field(examples=[["~ policy default: mode direct -> smart"]])
    notes: list[str]


class ModeOut(Schema):
    """The mode of a policy."""

    policy: str
    mode: Mode


class ModeChange(Body):
    """The mode to be in force from the next call on."""

    mode: Mode
    policy: Text | None = Field(None, description="The name; absent: the default policy.")


@operation(
    router,
    "GET",
    "",
    "routing.view_policy",
    summary="Read the whole routing",
    description="What is answered can be sent back by PUT.",
    answer=RoutingOut,
)
def get_routing(caller: Caller) -> RoutingOut:
    return RoutingOut(**routing_sections())


@operation(
    router,
    "PUT",
    "",
    "routing.change_policy",
    summary="Write the routing, all of it or, when anything is wrong, nothing",
    description=_AS_IN_A_FILE,
    answer=Changed,
)
def put_routing(caller: Caller, data: RoutingIn, query: Query[PutQuery]) -> Changed:
    for permission in ("routing.change_route", "routing.change_scene", "routing.change_modelalias"):
        caller.require(permission)
    given = data.given()
    if "settings" in given:
        caller.require("routing.change_runtimesettings")
    try:
        done = apply_values(
            {"version": VERSION, **given},
            read_secret=lambda _name: "",
            dry_run=query.dry_run,
            prune=query.prune,
        )
    except Refused as error:
        raise of_config(error) from error
    return Changed(changes=done.changes, notes=done.notes)


def _policy(name: str | None) -> Policy:
    policy = Policy.objects.filter(**({"is_default": True} if name is None else {"name": name})).first()
    if policy is None:
        raise ManageError(404, "There is no such policy.", {"policy": ["there is none"]})
    return policy


@operation(router, "GET", "/mode", "routing.view_policy", summary="The mode of the default policy", answer=ModeOut)
def get_mode(caller: Caller) -> ModeOut:
    policy = _policy(None)
    return ModeOut.model_validate({"policy": policy.name, "mode": policy.mode})


@operation(
    router,
    "PATCH",
    "/mode",
    "routing.change_policy",
    summary="Change the mode of a policy",
    description="On every worker from the next call on. Refused when the policy has not what the mode needs.",
    answer=ModeOut,
)
def change_mode(caller: Caller, data: ModeChange) -> ModeOut:
    policy = _policy(data.policy)
    apply_entry("policies", {"name": policy.name, "mode": data.mode})
    return ModeOut(policy=policy.name, mode=data.mode)


def _entry(section: str, name: str) -> Entry:
    found: Entry = next(entry for entry in routing_sections()[section] if entry["name"] == name)
    return found


def _change(section: str, model: type[Policy] | type[Route] | type[Scene], name: str, given: Entry) -> Entry:
    get_object_or_404(model._default_manager.all(), name=name)
    if given.get("name", name) != name:
        raise ManageError(400, "A name stays.", {"name": ["stays as it is"]})
    apply_entry(section, given | {"name": name})
    return _entry(section, name)


@operation(
    router,
    "PATCH",
    "/policies/{name}",
    "routing.change_policy",
    summary="Change a policy",
    description=_AS_IN_A_FILE,
    answer=Entry,
)
def change_policy(caller: Caller, name: Path[Name], data: Fields) -> Entry:
    return _change("policies", Policy, name, data)


@operation(
    router,
    "PATCH",
    "/routes/{name}",
    "routing.change_route",
    summary="Change the order or the targets of a route",
    description=_AS_IN_A_FILE,
    answer=Entry,
)
def change_route(caller: Caller, name: Path[Name], data: Fields) -> Entry:
    return _change("routes", Route, name, data)


@operation(
    router,
    "PATCH",
    "/scenes/{name}",
    "routing.change_scene",
    summary="Change a scene",
    description=_AS_IN_A_FILE,
    answer=Entry,
)
def change_scene(caller: Caller, name: Path[Name], data: Fields) -> Entry:
    return _change("scenes", Scene, name, data)


@operation(
    router,
    "PATCH",
    "/settings",
    "routing.change_runtimesettings",
    summary="Change settings that are in force while the gateway runs",
    description=_AS_IN_A_FILE,
    answer=Entry,
)
def change_settings(caller: Caller, data: Fields) -> Entry:
    apply_sections({"settings": data}, "settings")
    settings: Entry = routing_sections()["settings"]
    return settings
