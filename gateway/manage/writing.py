"""How rows are written: through the checks of the models, or as a configuration file would write them."""

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.shortcuts import get_object_or_404

from gateway.config.apply import Refused, Result, apply_values
from gateway.config.schema import VERSION
from gateway.manage.auth import Caller
from gateway.manage.errors import ManageError, invalid, of_config, of_model

_M = TypeVar("_M", bound=Model)


def find(caller: Caller, rows: "QuerySet[_M]", **which: Any) -> "_M":
    """Return the row, if the caller may see it. Raises `Http404` otherwise: what is hidden does not exist."""
    return get_object_or_404(caller.visible(rows), **which)


def find_to_change(caller: Caller, rows: "QuerySet[_M]", **which: Any) -> "_M":
    """Return the row, if the caller may change it. Raises `Http404` otherwise."""
    return get_object_or_404(caller.in_charge_of(rows), **which)


def named(caller: Caller, rows: "QuerySet[_M]", field: str, column: str, name: str | None) -> "_M | None":
    """Return the row that a field of the request names, None for null. Raises `ManageError`.

    The caller must be in charge of it: of rows that belong to nobody everybody is.
    """
    if name is None:
        return None
    found = caller.in_charge_of(rows).filter(**{column: name}).first()
    if found is None:
        raise invalid(**{field: f"there is no {rows.model._meta.verbose_name_raw} {name}"})
    return found


def save(row: Model, values: Mapping[str, Any], names: Mapping[str, str] | None = None) -> list[str]:
    """Set `values` (column -> value) and write the row if they pass its checks; return the columns that changed.

    `names` map columns to the fields of the request. Raises `ManageError`.
    """
    is_new = row._state.adding
    changed = [column for column, value in values.items() if is_new or getattr(row, column) != value]
    for column in changed:
        setattr(row, column, values[column])
    if not is_new and not changed:
        return []
    try:
        row.full_clean()
    except ValidationError as error:
        raise of_model(error, names) from error
    automatic = [field.name for field in row._meta.fields if getattr(field, "auto_now", False)]
    try:
        with transaction.atomic():
            if is_new:
                row.save()
            else:
                row.save(update_fields=[*changed, *automatic])
    except IntegrityError as error:
        raise ManageError(409, "Another request wrote the same meanwhile; look at it and try again.") from error
    return changed


def _plain(value: Any) -> Any:
    """Return a value as a configuration file holds it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, time):
        return value.isoformat("auto" if value.second else "minutes")
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def apply_entry(section: str, entry: Mapping[str, Any]) -> Result:
    """Write one entry of a section as a configuration file would; fields that are absent stay. Raises `ManageError`."""
    return apply_sections({section: [dict(entry)]}, f"{section}[0]")


def apply_sections(sections: Mapping[str, Any], *prefixes: str, dry_run: bool = False) -> Result:
    """Write sections of a configuration file. `prefixes` are taken off the paths of what is wrong.

    Nothing is read from the environment: the caller is not who set it. Raises `ManageError`.
    """
    try:
        return apply_values(
            {"version": VERSION, **{name: _plain(one) for name, one in sections.items()}},
            read_secret=lambda _name: "",
            dry_run=dry_run,
        )
    except Refused as error:
        raise of_config(error, *prefixes) from error
