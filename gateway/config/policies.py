"""Writing the section `policies`, and the rules that span the rows of routing."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from gateway.config.fields import at
from gateway.config.rows import Run, shown
from gateway.config.schema import Document, Item
from gateway.config.shapes import POLICY, columns
from routing.models import ClassifierEntry, KindRule, Policy
from routing.policy_rules import faults_of_stored

POLICY_COLUMNS = columns(POLICY)
# kind -> what a policy does with it: (action, scene, route)
_KindRules = dict[str, tuple[str, Any, Any]]


def shown_kind_action(rule: KindRule) -> str:
    """Return what a rule for a kind does, as a file writes it."""
    return _shown_action(rule.action, rule.scene, rule.route)


def _shown_action(action: str, scene: Any, route: Any) -> str:
    name = scene or route
    return f"{action}:{name}" if name is not None else action


def write_policies(run: Run, items: list[Item]) -> None:
    """Write the policies, without their shadows: those may stand further down in the file."""
    run.free_the_default("policy", items)
    for item in items:
        if item.is_broken:
            run.refuse(item)
            continue
        references = [
            run.reference(item, field, kind)
            for field, kind in (("route", "route"), ("cheap_route", "route"), ("reference_model", "model"))
        ]
        scenes = run.find_all("scene", item.values.get("scenes", ()), f"{item.path}.scenes")
        classifier = run.find_all("model", item.values.get("classifier", ()), f"{item.path}.classifier")
        kind_rules = _kind_rules(run, item)
        if None in references or scenes is None or classifier is None or kind_rules is None:
            run.refuse(item)
            continue
        row: Policy = run.rows["policy"].get(item.identity) or Policy()
        is_new = row._state.adding
        extra = []
        stored_scenes = [] if is_new else list(row.scenes.all())
        writes_scenes = "scenes" in item.values and {one.pk for one in scenes} != {one.pk for one in stored_scenes}
        if writes_scenes:
            extra.append(f"scenes {shown(stored_scenes)} -> {shown(scenes)}")
        stored_classifier = [] if is_new else [entry.model for entry in row.classifier_entries.all()]
        writes_classifier = "classifier" in item.values and classifier != stored_classifier
        if writes_classifier:
            extra.append(f"classifier {shown(stored_classifier)} -> {shown(classifier)}")
        stored_rules: _KindRules = (
            {} if is_new else {rule.kind: (rule.action, rule.scene, rule.route) for rule in row.kind_rules.all()}
        )
        writes_rules = "kind_rules" in item.values and kind_rules != stored_rules
        if writes_rules:
            extra.append(f"kind_rules {_shown_rules(stored_rules)} -> {_shown_rules(kind_rules)}")
        values = run.plain_values(item, row, POLICY_COLUMNS)
        for reference in references:
            values |= reference or {}
        if not run.write(item, row, values, POLICY_COLUMNS, extra=extra):
            continue
        if writes_scenes:
            row.scenes.set(scenes)
        if writes_classifier:
            row.classifier_entries.all().delete()
            for position, model in enumerate(classifier):
                ClassifierEntry.objects.create(policy=row, model=model, position=position)
        if writes_rules:
            row.kind_rules.all().delete()
            for kind, (action, scene, route) in kind_rules.items():
                KindRule.objects.create(policy=row, kind=kind, action=action, scene=scene, route=route)


def _kind_rules(run: Run, item: Item) -> _KindRules | None:
    """Return the rules for kinds that the file gives, None when one names what is not there."""
    found: _KindRules = {}
    is_clean = True
    written: Mapping[str, tuple[str, str] | None] = item.values.get("kind_rules", {})
    for kind, rule in written.items():
        if rule is None:
            continue
        action, name = rule
        target = run.find(action, name, at(item.path, f"kind_rules.{kind}")) if name else None
        is_clean = is_clean and (target is not None or not name)
        found[kind] = (action, target if action == "scene" else None, target if action == "route" else None)
    return found if is_clean else None


def _shown_rules(rules: _KindRules) -> str:
    return shown([f"{kind} {_shown_action(*rule)}" for kind, rule in sorted(rules.items())])


def write_shadows(run: Run, items: list[Item]) -> None:
    """Write which policies are the shadows of which, when all policies are there."""
    for item in items:
        if item.is_broken:
            continue
        shadow = run.reference(item, "shadow", "policy")
        if shadow is None:
            run.refuse(item)
            continue
        before = len(run.changes)
        run.write(item, run.rows["policy"][item.identity], shadow, POLICY_COLUMNS)
        if ("policy", item.identity) in run.created:
            del run.changes[before:]  # "+ policy x" says it


def check_passthrough(run: Run, document: Document) -> None:
    """Refuse a file that leaves a policy passing calls through to servers that are not Anthropic-compatible.

    The policy itself may not be in the file: a route or a provider may have changed below it.
    """
    paths = _paths(document)
    for policy in Policy.objects.filter(mode=Policy.Mode.PASSTHROUGH, route__isnull=False).select_related("route"):
        assert policy.route is not None
        for target in policy.route.targets_of_another_wire():
            provider = target.partition("/")[0]
            places = (
                (("policy", policy.name), "route"),
                (("route", policy.route.name), "targets"),
                (("provider", provider), "wire_format"),
            )
            path = next((at(paths[row].path, field) for row, field in places if row in paths), f"policy {policy.name}")
            run.problems.add(
                path,
                _("%(target)s is no Anthropic-compatible server, and the policy %(policy)s passes calls through.")
                % {"target": target, "policy": policy.name},
            )


def check_lists(run: Run, document: Document) -> None:
    """Refuse a file that leaves a policy with lists that cannot work, whatever part of them the file is about."""
    items = _paths(document)
    for policy in Policy.objects.select_related("cheap_route").order_by("name"):
        for field, errors in faults_of_stored(policy).items():
            for error in errors:
                run.problems.add(*_placed(items, policy, field, error))
        if policy.cheap_route is not None and not policy.cheap_route.entries.exists():
            fault = _("The cheap route of the policy %(policy)s has no targets.") % {"policy": policy.name}
            route = items.get(("route", policy.cheap_route.name))
            run.problems.add(at(route.path, "targets") if route else f"policy {policy.name}", fault)


def _placed(
    items: Mapping[tuple[str, str], Item], policy: Policy, field: str, error: ValidationError
) -> tuple[str, str]:
    """Return the path of the nearest thing in the file that `error` is about, and the message."""
    params: Mapping[str, str] = error.params or {}
    places = [("scene", params.get("scene", ""), "enabled")] if error.code == "disabled_scene" else []
    if error.code in ("empty_scene", "empty_route"):
        places = [
            ("scene", params.get("scene", ""), "route"),
            ("route", params.get("route", ""), "targets"),
        ]
    if "kind" in params:
        field = f"{field}.{params['kind']}"
    places.append(("policy", policy.name, field))
    [message] = error.messages
    for kind, name, own_field in places:
        item = items.get((kind, name))
        if item is not None and (own_field in item.values or kind == "policy"):
            return at(item.path, own_field), message
    return f"policy {policy.name}", message


def _paths(document: Document) -> dict[tuple[str, str], Item]:
    return {(item.kind, item.identity): item for items in document.sections.values() for item in items}
