"""The scenes that are offered ready-made: four to begin with and four templates, in English and Chinese."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from django.db import transaction

from providers import config_version
from routing.model_choice import DEFAULT_ROUTE, Role, fill, models_for
from routing.models import Route, Scene

_DATA = Path(__file__).parent / "data" / "offered_scenes.json"
LANGUAGES = ("en", "zh-hans")

Which = Literal["defaults", "templates"]
Outcome = Literal["made", "replaced", "kept"]


class NoModels(Exception):
    """There is no enabled model that a scene could be answered by."""


@dataclass(frozen=True, slots=True)
class OfferedScene:
    """A scene that can be had. Names and descriptions by language; the examples are of all languages."""

    key: str  # its route is named after it
    role: Role
    names: Mapping[str, str]
    descriptions: Mapping[str, str]
    examples: tuple[str, ...]
    is_default: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What became of an offered scene."""

    scene: Scene
    outcome: Outcome


@cache
def offered_scenes(which: Which) -> tuple[OfferedScene, ...]:
    """Return the scenes of a set, in order."""
    entries: list[dict[str, Any]] = json.loads(_DATA.read_text(encoding="utf-8"))[which]
    return tuple(
        OfferedScene(
            key=entry["key"],
            role=entry["role"],
            names=entry["name"],
            descriptions=entry["description"],
            examples=tuple(example for language in LANGUAGES for example in entry["examples"][language]),
            is_default=entry.get("is_default", False),
        )
        for entry in entries
    )


def offered_language(language: str) -> str:
    """Return the language of the offer for a language code of Django, e.g. "zh-hans" for "zh-cn"."""
    return "zh-hans" if language.lower().startswith("zh") else "en"


def standing(which: Which, language: str) -> list[Scene]:
    """Return the scenes of a set that exist, under their name in any language: what `replace` would overwrite."""
    found = (_standing(offered, offered_language(language)) for offered in offered_scenes(which))
    return [scene for scene in found if scene is not None]


@transaction.atomic
def offer(which: Which, language: str, *, replace: bool = False) -> list[Offer]:
    """Make the scenes of a set, enabled, with routes of models that exist. Raises `NoModels`.

    A scene that exists is left alone, unless `replace` asks to overwrite it; other scenes always are. The default scene
    of the set becomes the default where there is none, and is not made where there is another.
    """
    if not models_for("everyday"):
        raise NoModels("There is no enabled model yet. Add a provider and refresh its list of models first.")
    offers = [_offer(offered, offered_language(language), replace=replace) for offered in offered_scenes(which)]
    config_version.bump()
    return offers


@transaction.atomic
def first_scene(language: str) -> Scene | None:
    """Make the default scene of a fresh installation and return it; None where there are scenes already.

    It shares the route of the default policy, which is filled when the first models are there.
    """
    if Scene.objects.exists():
        return None
    route, _is_new = Route.objects.get_or_create(name=DEFAULT_ROUTE)
    return _write(Scene(route=route, is_default=True), offered_scenes("defaults")[0], offered_language(language))


def is_first_scene(scene: Scene) -> bool:
    """Say whether a scene is the one that `first_scene` made, untouched by anybody."""
    offered = offered_scenes("defaults")[0]
    return (
        scene.route.name == DEFAULT_ROUTE
        and scene.examples == list(offered.examples)
        and any((scene.name, scene.description) == (offered.names[one], offered.descriptions[one]) for one in LANGUAGES)
        and not scene.rules.exists()
    )


def _standing(offered: OfferedScene, language: str) -> Scene | None:
    found = {scene.name: scene for scene in Scene.objects.filter(name__in=offered.names.values())}
    return found.get(offered.names[language]) or next(iter(found.values()), None)


def _offer(offered: OfferedScene, language: str, *, replace: bool) -> Offer:
    scene = _standing(offered, language)
    if scene is not None and not replace:
        _fill(scene.route, offered.role)
        return Offer(scene, "kept")
    default = Scene.objects.filter(is_default=True).first()
    if scene is None and offered.is_default and default is not None:
        return Offer(default, "kept")
    if scene is not None:
        _fill(scene.route, offered.role)
        scene.is_enabled = True
        return Offer(_write(scene, offered, language), "replaced")
    last = Scene.objects.order_by("-position").first()
    scene = Scene(route=_route(offered), is_default=offered.is_default, position=last.position + 1 if last else 0)
    return Offer(_write(scene, offered, language), "made")


def _route(offered: OfferedScene) -> Route:
    """Return the route for a new scene: the default one for the default scene, else one of its own."""
    if offered.is_default:
        default = Route.objects.filter(name=DEFAULT_ROUTE).first()
        if default is not None:
            return _fill(default, offered.role)
    route, _is_new = Route.objects.get_or_create(name=f"scene-{offered.key}")
    return _fill(route, offered.role)


def _fill(route: Route, role: Role) -> Route:
    # A route with targets has those that somebody chose.
    if not route.entries.exists():
        fill(route, models_for(role))
    return route


def _write(scene: Scene, offered: OfferedScene, language: str) -> Scene:
    scene.name = offered.names[language]
    scene.description = offered.descriptions[language]
    scene.examples = list(offered.examples)
    scene.full_clean()
    scene.save()
    return scene
