"""Writing the section `scenes`: kinds of intent, and the rules that choose them."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts import audit
from gateway.config.fields import at
from gateway.config.rows import Run, located
from gateway.config.schema import Item
from gateway.config.shapes import SCENE, SCENE_RULE, columns
from routing.models import Scene, SceneRule
from routing.offered import is_first_scene

SCENE_COLUMNS = columns(SCENE)
RULE_COLUMNS = columns(SCENE_RULE)


def write_scenes(run: Run, items: list[Item]) -> None:
    """Write the scenes with their rules. A file that gives rules gives all of a scene's, in order."""
    _let_the_first_go(run, items)
    run.free_the_default("scene", items)
    for item in items:
        if item.is_broken:
            run.refuse(item)
            continue
        route = run.reference(item, "route", "route")
        if route is None:
            run.refuse(item)
            continue
        row: Scene = run.rows["scene"].get(item.identity) or Scene(position=run.end("scene"))
        values = run.plain_values(item, row, SCENE_COLUMNS) | route
        if row._state.adding and not route:
            run.refuse(item, ("route", _("is required")))
            continue
        rules = _rules(run, item, row)
        if rules is None:
            run.refuse(item)
            continue
        stored = [] if row._state.adding else list(row.rules.all())
        extra = []
        writes_rules = "rules" in item.values and [_plain(rule) for rule in rules] != [_plain(rule) for rule in stored]
        if writes_rules:
            extra.append(_("rules changed"))
        if run.write(item, row, values, SCENE_COLUMNS, extra=extra) and writes_rules:
            _replace(row, stored, rules)
    run.arrange("scene", items, Scene.objects.order_by("position", "name"), "scenes")


def _let_the_first_go(run: Run, items: list[Item]) -> None:
    """Remove the scene that a fresh installation has by itself, where the file brings its own default scene.

    As one more scene it would compete with those of the file, with a route that may have no targets.
    """
    coming = any(item.values.get("default") and not item.is_broken for item in items)
    first: Scene | None = next((scene for scene in run.rows["scene"].values() if scene.is_default), None)
    if not coming or first is None or first.name in {item.identity for item in items} or not is_first_scene(first):
        return
    if first.policies.exists() or first.aliases.exists() or first.kind_rules.exists():
        return
    audit.update(Scene.objects.filter(pk=first.pk), is_default=False)
    first.is_default = False
    first.delete()
    del run.rows["scene"][first.name]
    run.say("-", "scene", first.name, _("the file has a default scene of its own"))


def _rules(run: Run, item: Item, scene: Scene) -> list[SceneRule] | None:
    """Return the rules that the file gives as rows to be saved, None when one is wrong."""
    rules = []
    is_clean = True
    written: Sequence[Mapping[str, Any]] = item.values.get("rules", ())
    for index, given in enumerate(written):
        rule = SceneRule(position=index)
        for field, value in run.plain_values(Item("rule", "", "", dict(given)), rule, RULE_COLUMNS).items():
            setattr(rule, field, value)
        rule.scene = scene
        try:
            rule.full_clean(exclude=["scene"])  # which may not be saved yet
        except ValidationError as error:
            is_clean = False
            path = f"{item.path}.rules[{index}]"
            names = {column: field for field, column in RULE_COLUMNS.items()}
            for field, message in located(error, names, given):
                run.problems.add(at(path, field) if field else path, message)
        rules.append(rule)
    return rules if is_clean else None


def _plain(rule: SceneRule) -> dict[str, Any]:
    return {column: getattr(rule, column) for column in RULE_COLUMNS.values()}


def _replace(scene: Scene, stored: list[SceneRule], rules: list[SceneRule]) -> None:
    for rule in stored:
        rule.delete()
    for rule in rules:
        rule.scene = scene
        rule.save()
