"""What a policy and its scenes must hold to: rules that span rows, for every way of saving them.

A policy's mode alone says which list is in force: `passthrough` and `direct` use the route, `smart` the scenes. The
other list may stay filled for the day on which the mode changes back, but nothing reads it (see `snapshot.load`).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from providers.models import Model
from providers.target import ANY_MODEL

if TYPE_CHECKING:
    from routing.models import KindRule, Policy, Scene

SMART = "smart"  # Policy.Mode.SMART, which cannot be imported here

Faults = dict[str, list[ValidationError]]


def faults_of_policy(
    mode: str, *, scenes: Iterable["Scene"], classifier: Iterable[Model] = (), kind_rules: Iterable["KindRule"] = ()
) -> Faults:
    """Return field -> what is wrong with the lists of a policy of this mode, {} if nothing is.

    The fields are `scenes`, `classifier` and `kind_rules`; `scenes` is the policy's own list, empty for all scenes.
    `Policy.clean` checks the columns: it cannot see lists that a form has not saved yet. Each error has a code and,
    where it is about a scene, the names of it and its route in `params`.
    """
    from routing.models import Scene

    faults: Faults = {}
    own = list(scenes)
    if mode == SMART:
        in_use = own or list(Scene.objects.filter(is_enabled=True))
        if found := [*_scene_faults(in_use, is_own=bool(own)), *_empty_scenes(in_use)]:
            faults["scenes"] = found
        if found := [*_kind_rule_faults(kind_rules, {scene.pk for scene in in_use})]:
            faults["kind_rules"] = found
    wild = [str(model) for model in classifier if model.model_id == ANY_MODEL]
    if wild:
        faults["classifier"] = [
            ValidationError(_("%(model)s stands for any model. Choose single models."), "any_model", {"model": name})
            for name in wild
        ]
    return faults


def faults_of_stored(policy: "Policy") -> Faults:
    """Return the faults of a policy as it is stored, with all its lists."""
    return faults_of_policy(
        policy.mode,
        scenes=policy.scenes.select_related("route"),
        classifier=[entry.model for entry in policy.classifier_entries.select_related("model__provider")],
        kind_rules=policy.kind_rules.select_related("scene", "route"),
    )


def _scene_faults(in_use: Sequence["Scene"], *, is_own: bool) -> Iterable[ValidationError]:
    from routing.models import Scene

    for scene in in_use:
        if not scene.is_enabled:
            fault = _("The scene %(scene)s is not enabled.")
            yield ValidationError(fault, "disabled_scene", {"scene": scene.name})
    if any(scene.is_default for scene in in_use):
        return
    default = Scene.objects.filter(is_default=True).first() if is_own else None
    if default is not None:
        fault = _("The default scene %(scene)s must be one of them: it answers where no other is recognised.")
        yield ValidationError(fault, "without_default", {"scene": default.name})
    else:
        yield no_default_scene()


def no_default_scene() -> ValidationError:
    """Return the error of routing by intent where no scene is the default."""
    return ValidationError(
        _("Routing by intent needs a default scene, which answers where no other is recognised. Make one the default."),
        "no_default_scene",
    )


def _empty_scenes(in_use: Sequence["Scene"]) -> Iterable[ValidationError]:
    from routing.models import RouteEntry

    filled = set(RouteEntry.objects.values_list("route_id", flat=True).distinct())
    for scene in in_use:
        if scene.route_id not in filled:
            yield _empty(scene)


def _empty(scene: "Scene") -> ValidationError:
    return ValidationError(
        _("The scene %(scene)s is empty: its route %(route)s has no targets."),
        "empty_scene",
        {"scene": scene.name, "route": scene.route.name},
    )


def fault_of_use(scene: "Scene") -> ValidationError | None:
    """Return why a scene cannot be enabled with its route, None if it can: none that a policy chooses from is empty."""
    from routing.models import Policy

    smart = Policy.objects.filter(mode=SMART).prefetch_related("scenes")
    if scene.route.entries.exists() or not any(_uses(policy, scene) for policy in smart):
        return None
    return _empty(scene)


def _kind_rule_faults(kind_rules: Iterable["KindRule"], in_use: set[int]) -> Iterable[ValidationError]:
    from routing.models import RouteEntry

    rules = list(kind_rules)
    filled = set(
        RouteEntry.objects.filter(route__in=[rule.route_id for rule in rules]).values_list("route_id", flat=True)
    )
    for rule in rules:
        if rule.scene is not None and rule.scene_id not in in_use:
            fault = _("The scene %(scene)s is none of those of the policy.")
            yield ValidationError(fault, "foreign_scene", {"scene": rule.scene.name, "kind": rule.kind})
        elif rule.route is not None and rule.route_id not in filled:
            fault = _("The route %(route)s has no targets.")
            yield ValidationError(fault, "empty_route", {"route": rule.route.name, "kind": rule.kind})


def policies_naming(scene: "Scene") -> list[str]:
    """Return the names of the policies that route by intent with this scene in their own list."""
    if scene.pk is None:
        return []
    return list(scene.policies.filter(mode=SMART).order_by("name").values_list("name", flat=True))


def fault_of_disabling(scene: "Scene") -> ValidationError | None:
    """Return why a scene must stay enabled, None if it may be switched off.

    A policy that uses all scenes goes on with the others; one that names this scene would silently use another list.
    """
    if scene.is_default:
        fault = _("The default scene must stay enabled. Make another scene the default first.")
        return ValidationError(fault, "default_scene")
    return _in_use(scene)


def fault_of_default(scene: "Scene") -> ValidationError | None:
    """Return why a scene cannot become the default, None if it can: policies must list the default one."""
    from routing.models import Policy

    smart = Policy.objects.filter(mode=SMART).order_by("name").prefetch_related("scenes")
    names = [policy.name for policy in smart if not _uses(policy, scene)]
    if not names:
        return None
    fault = _("The scene %(scene)s is not in the list of the policy %(policies)s, which must have the default scene.")
    return ValidationError(fault, "not_in_use", {"scene": scene.name, "policies": ", ".join(names)})


def fault_of_deleting(scene: "Scene") -> ValidationError | None:
    """Return why a scene must stay, None if it may be deleted."""
    if scene.is_default:
        fault = _("The default scene cannot be deleted. Make another scene the default first.")
        return ValidationError(fault, "default_scene")
    return _in_use(scene)


def _in_use(scene: "Scene") -> ValidationError | None:
    names = policies_naming(scene)
    if not names:
        return None
    fault = _("The scene %(scene)s is in use by the policy %(policies)s. Take it off its list first.")
    return ValidationError(fault, "in_use", {"scene": scene.name, "policies": ", ".join(names)})


def fault_of_emptying(route_pk: int) -> ValidationError | None:
    """Return why a route must keep a target, None if it may lose its last one.

    It must where a policy by intent uses it: as the route of a scene, as its cheap route, for a kind of requests.
    """
    from routing.models import KindRule, Policy, Route, Scene

    smart = Policy.objects.filter(mode=SMART).order_by("name")
    uses: list[tuple[Any, dict[str, str]]] = []
    for scene in Scene.objects.filter(route=route_pk, is_enabled=True):
        users = [policy.name for policy in smart.prefetch_related("scenes") if _uses(policy, scene)]
        if users:
            fault = _("The scene %(scene)s of the policy %(policies)s would be empty. Give it another route first.")
            uses.append((fault, {"scene": scene.name, "policies": ", ".join(users)}))
    for policy in Policy.objects.filter(cheap_route=route_pk).order_by("name"):
        fault = _("This is the cheap route of the policy %(policies)s, which needs a target.")
        uses.append((fault, {"policies": policy.name}))
    for rule in KindRule.objects.filter(route=route_pk, policy__mode=SMART).select_related("policy"):
        fault = _("A rule for a kind of the policy %(policies)s uses this route, which needs a target.")
        uses.append((fault, {"policies": rule.policy.name}))
    if not uses:
        return None
    fault, params = uses[0]
    name = Route.objects.filter(pk=route_pk).values_list("name", flat=True).first() or ""
    return ValidationError(fault, "in_use", {**params, "route": name})


def _uses(policy: "Policy", scene: "Scene") -> bool:
    own = {one.pk for one in policy.scenes.all()}
    return not own or scene.pk in own
