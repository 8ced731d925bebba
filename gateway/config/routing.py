"""Writing the sections `routes`, `aliases`, `scenes`, `policies` and `settings`."""

from typing import Any

from django.utils.translation import gettext as _

from gateway.config.fields import at
from gateway.config.rows import Run, shown
from gateway.config.schema import POLICY, ROUTE, SCENE, SEARCH, SETTINGS, Document, Item, columns
from providers.encryption import Undecryptable
from providers.models import Model
from routing.models import ClassifierEntry, ModelAlias, Policy, Route, RouteEntry, RuntimeSettings, Scene

ROUTE_COLUMNS = columns(ROUTE)
SCENE_COLUMNS = columns(SCENE)
POLICY_COLUMNS = columns(POLICY)
SETTINGS_COLUMNS = columns(SETTINGS)
SEARCH_COLUMNS = columns(SEARCH)


def write_routes(run: Run, items: list[Item]) -> None:
    for item in items:
        if item.is_broken:
            run.refuse(item)
            continue
        targets = _route_targets(run, item)
        if targets is None:
            run.refuse(item)
            continue
        row: Route = run.rows["route"].get(item.identity) or Route()
        wanted = targets.get("targets")
        stored = [] if row._state.adding else [(entry.model, entry.weight) for entry in row.entries.all()]
        extra = []
        if wanted is not None and wanted != stored:
            extra.append(f"targets {_shown_targets(stored)} -> {_shown_targets(wanted)}")
        if run.write(item, row, run.plain_values(item, row, ROUTE_COLUMNS), ROUTE_COLUMNS, extra=extra) and extra:
            _write_entries(row, wanted or [])


def _route_targets(run: Run, item: Item) -> dict[str, list[tuple[Model, int]]] | None:
    """Return {"targets": (model, weight) pairs}, {} when the file gives none, None when one is wrong."""
    if "targets" not in item.values:
        return {}
    named: list[tuple[str, int]] = item.values["targets"]
    names = [name for name, _weight in named]
    models = run.find_all("model", names, f"{item.path}.targets")
    is_clean = models is not None
    for index, name in enumerate(names):
        if name in names[:index]:
            is_clean = False
            run.problems.add(f"{item.path}.targets[{index}]", _("%(entry)s is named twice") % {"entry": name})
    if not is_clean or models is None:
        return None
    return {"targets": [(model, weight) for model, (_name, weight) in zip(models, named, strict=True)]}


def _shown_targets(targets: list[tuple[Model, int]]) -> str:
    return shown([f"{model} x{weight}" if weight != 1 else str(model) for model, weight in targets])


def _write_entries(route: Route, wanted: list[tuple[Model, int]]) -> None:
    stored = {entry.model_id: entry for entry in route.entries.all()}
    RouteEntry.objects.filter(route=route).exclude(model__in=[model for model, _weight in wanted]).delete()
    for position, (model, weight) in enumerate(wanted):
        entry = stored.get(model.pk) or RouteEntry(route=route, model=model)
        entry.position, entry.weight = position, weight
        entry.save()


def write_aliases(run: Run, items: list[Item]) -> None:
    for item in items:
        if item.is_broken:
            run.refuse(item)
            continue
        written: str = item.values["target"]
        kind = "route" if written.startswith("route:") else "model"
        path = f"{item.path}.target"
        found = run.find(kind, written.removeprefix("route:") if kind == "route" else written, path)
        if found is None:
            run.refuse(item)
            continue
        row: ModelAlias = run.rows["alias"].get(item.identity) or ModelAlias(position=run.end("alias"))
        values: dict[str, Any] = {"pattern": item.identity, "model": None, "route": None, kind: found}
        old = f"route:{row.route}" if row.route is not None else shown(row.model)
        extra = [] if old == written else [f"target {old} -> {written}"]
        run.write(item, row, values, {"pattern": "pattern"}, hidden={"model": "", "route": ""}, extra=extra)
    run.arrange("alias", items, ModelAlias.objects.order_by("position", "pk"), "aliases")


def write_scenes(run: Run, items: list[Item]) -> None:
    _free_the_default(run, "scene", items)
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
        run.write(item, row, values, SCENE_COLUMNS)
    run.arrange("scene", items, Scene.objects.order_by("position", "name"), "scenes")


def write_policies(run: Run, items: list[Item]) -> None:
    _free_the_default(run, "policy", items)
    for item in items:
        if item.is_broken:
            run.refuse(item)
            continue
        route = run.reference(item, "route", "route")
        reference_model = run.reference(item, "reference_model", "model")
        scenes = run.find_all("scene", item.values.get("scenes", ()), f"{item.path}.scenes")
        classifier = run.find_all("model", item.values.get("classifier", ()), f"{item.path}.classifier")
        if route is None or reference_model is None or scenes is None or classifier is None:
            run.refuse(item)
            continue
        row: Policy = run.rows["policy"].get(item.identity) or Policy()
        extra = []
        stored_scenes = [] if row._state.adding else list(row.scenes.all())
        writes_scenes = "scenes" in item.values and {one.pk for one in scenes} != {one.pk for one in stored_scenes}
        if writes_scenes:
            extra.append(f"scenes {shown(stored_scenes)} -> {shown(scenes)}")
        stored_classifier = [] if row._state.adding else [entry.model for entry in row.classifier_entries.all()]
        writes_classifier = "classifier" in item.values and classifier != stored_classifier
        if writes_classifier:
            extra.append(f"classifier {shown(stored_classifier)} -> {shown(classifier)}")
        values = run.plain_values(item, row, POLICY_COLUMNS) | route | reference_model
        if not run.write(item, row, values, POLICY_COLUMNS, extra=extra):
            continue
        if writes_scenes:
            row.scenes.set(scenes)
        if writes_classifier:
            row.classifier_entries.all().delete()
            for position, model in enumerate(classifier):
                ClassifierEntry.objects.create(policy=row, model=model, position=position)


def check_passthrough(run: Run, document: Document) -> None:
    """Refuse a file that leaves a policy passing calls through to servers that are not Anthropic-compatible.

    The policy itself may not be in the file: a route or a provider may have changed below it.
    """
    paths = {(item.kind, item.identity): item.path for items in document.sections.values() for item in items}
    for policy in Policy.objects.filter(mode=Policy.Mode.PASSTHROUGH, route__isnull=False).select_related("route"):
        assert policy.route is not None
        for target in policy.route.targets_of_another_wire():
            provider = target.partition("/")[0]
            places = (
                (("policy", policy.name), "route"),
                (("route", policy.route.name), "targets"),
                (("provider", provider), "wire_format"),
            )
            path = next((at(paths[row], field) for row, field in places if row in paths), f"policy {policy.name}")
            run.problems.add(
                path,
                _("%(target)s is no Anthropic-compatible server, and the policy %(policy)s passes calls through.")
                % {"target": target, "policy": policy.name},
            )


def _free_the_default(run: Run, kind: str, items: list[Item]) -> None:
    """Take the mark off the default row when the file names another one: the database allows only one at a time."""
    coming = next((item.identity for item in items if item.values.get("default") and not item.is_broken), None)
    if coming is None:
        return
    for identity, row in run.rows[kind].items():
        if row.is_default and identity != coming:
            row.is_default = False
            row.save(update_fields=["is_default"])
            run.say("~", kind, identity, "default true -> false")


def write_settings(run: Run, item: Item) -> None:
    if item.is_broken:
        return
    row = RuntimeSettings.load()
    safety_model = run.reference(item, "safety_model", "model")
    if safety_model is None:
        return
    values = run.plain_values(item, row, SETTINGS_COLUMNS) | safety_model
    if "search" in item.values:
        search = _search_values(run, item, row)
        if search is None:
            return
        values |= search
    if all(getattr(row, column) == value for column, value in values.items()):
        return  # of a row that was never saved too: it would hold the defaults
    if row._state.adding:
        RuntimeSettings.objects.create(pk=1)
        row = RuntimeSettings.load()
    names = {**SETTINGS_COLUMNS, **{f"search.{field}": column for field, column in SEARCH_COLUMNS.items()}}
    hidden = {"encrypted_search_secret": _("search.secret changed"), "search_secret_last_four": ""}
    run.write(item, row, values, names, hidden=hidden)


def _search_values(run: Run, item: Item, row: RuntimeSettings) -> dict[str, Any] | None:
    """Return model field -> value of `search`, None if it is wrong. Without a secret the stored one is kept.

    Null, of the whole as of the secret, removes what is stored.
    """
    wanted: dict[str, Any] | None = item.values["search"]
    none = {"encrypted_search_secret": "", "search_secret_last_four": ""}
    if wanted is None:
        return {"search_kind": "", "search_url": "", **none}
    values: dict[str, Any] = {"search_kind": wanted["kind"], "search_url": wanted["url"]}
    secret: str | None = wanted.get("secret", "")
    if secret is None:
        return values | none
    if "secret" in wanted and not (secret and all("!" <= character <= "~" for character in secret)):
        run.refuse(item, ("search.secret", _("must consist of printable ASCII characters without spaces")))
        return None
    if secret and not _holds_secret(row, secret):
        fresh = RuntimeSettings()
        fresh.set_search_secret(secret)
        values |= {name: getattr(fresh, name) for name in none}
    return values


def _holds_secret(row: RuntimeSettings, secret: str) -> bool:
    try:
        return row.search_secret() == secret
    except Undecryptable:
        return False
