"""Writing the sections `routes`, `aliases` and `settings`."""

from typing import Any

from django.utils.translation import gettext as _

from gateway.config.rows import Run, shown
from gateway.config.schema import Item
from gateway.config.shapes import ROUTE, SEARCH, SETTINGS, columns
from providers.encryption import Undecryptable
from providers.models import Model
from routing.model_choice import DEFAULT_ROUTE, fill_default_route
from routing.models import ModelAlias, Route, RouteEntry, RuntimeSettings

ROUTE_COLUMNS = columns(ROUTE)
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
    models = run.find_all("model", [name for name, _weight in named], f"{item.path}.targets")
    if models is None:
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
    # Whoever asks the route for its targets in this run must see these.
    getattr(route, "_prefetched_objects_cache", {}).pop("entries", None)


def fill_the_default_route(run: Run, items: list[Item]) -> None:
    """Fill the route that a fresh installation waits with, when the file brings models and does not name it."""
    brings_models = any(kind == "model" for kind, _identity in run.created)
    if brings_models and DEFAULT_ROUTE not in {item.identity for item in items}:
        models = fill_default_route()
        if models:
            run.say("~", "route", DEFAULT_ROUTE, f"targets none -> {shown(models)}")


def _kind_of_target(written: str) -> tuple[str, str]:
    """Return (kind, name) of what `provider/model`, a model's bare id, route:NAME or scene:NAME means."""
    for kind in ("route", "scene"):
        if written.startswith(f"{kind}:"):
            return kind, written.removeprefix(f"{kind}:").strip()
    return "model", written


def shown_alias_target(alias: ModelAlias) -> str:
    """Return the target of an alias as a file writes it."""
    if alias.route is not None:
        return f"route:{alias.route}"
    if alias.scene is not None:
        return f"scene:{alias.scene}"
    return shown(alias.model)


def write_aliases(run: Run, items: list[Item]) -> None:
    for item in items:
        if item.is_broken:
            run.refuse(item)
            continue
        kind, name = _kind_of_target(item.values["target"])
        found = run.find(kind, name, f"{item.path}.target")
        if found is None:
            run.refuse(item)
            continue
        row: ModelAlias = run.rows["alias"].get(item.identity) or ModelAlias(position=run.end("alias"))
        old = shown_alias_target(row)
        values: dict[str, Any] = {"pattern": item.identity, "model": None, "route": None, "scene": None, kind: found}
        new = shown_alias_target(ModelAlias(**{kind: found}))
        extra = [] if old == new else [f"target {old} -> {new}"]
        hidden = {"model": "", "route": "", "scene": ""}
        columns_of_alias = {"pattern": "pattern", "target": "model"}
        run.write(item, row, values, columns_of_alias, hidden=hidden, extra=extra)
    run.arrange("alias", items, ModelAlias.objects.order_by("position", "pk"), "aliases")


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
