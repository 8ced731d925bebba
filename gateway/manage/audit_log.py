"""The audit log: who changed what. It is read only, here as everywhere."""

from datetime import datetime
from typing import Any, Literal

from ninja import Query, Router, Schema
from pydantic import Field

from accounts.models import AuditEntry
from gateway.manage.auth import Caller
from gateway.manage.operations import Moment, operation
from gateway.manage.paging import Page, PageQuery, each, page_of

router = Router(tags=["audit log"])


class EntryOut(Schema):
    """One change of one row, secrets masked."""

    id: int
    at: datetime
    actor: str = Field(description="The person, key or command, as of then.")
    via: str
    address: str
    action: str
    object_type: str = Field(examples=["accounts.apikey"])
    object_id: str
    object_name: str
    changes: dict[str, Any] = Field(description="By field: the value before, and after.")
    note: str


class EntryFilter(PageQuery):
    """Which entries."""

    actor: str = Field("", description="A username.")
    via: Literal["admin", "api", "command", "system"] | None = None
    action: Literal["create", "change", "delete", "other"] | None = None
    object_type: str = ""
    object_id: str = ""
    from_moment: Moment | None = Field(None, alias="from")
    to_moment: Moment | None = Field(None, alias="to", description="Before this moment.")


def _show(row: AuditEntry) -> EntryOut:
    return EntryOut(
        id=row.pk,
        at=row.at,
        actor=row.actor_name,
        via=row.via,
        address=row.address,
        action=row.action,
        object_type=row.object_type,
        object_id=row.object_id,
        object_name=row.object_name,
        changes=row.changes,
        note=row.note,
    )


@operation(
    router,
    "GET",
    "",
    "accounts.view_auditentry",
    summary="List the audit log, the newest entries first",
    answer=Page[EntryOut],
)
def list_audit_entries(caller: Caller, query: Query[EntryFilter]) -> Page[EntryOut]:
    rows = caller.visible(AuditEntry.objects.all())
    for name, value in (
        ("actor__username", query.actor),
        ("via", query.via),
        ("action", query.action),
        ("object_type", query.object_type),
        ("object_id", query.object_id),
    ):
        if value:
            rows = rows.filter(**{name: value})
    if query.from_moment is not None:
        rows = rows.filter(at__gte=query.from_moment)
    if query.to_moment is not None:
        rows = rows.filter(at__lt=query.to_moment)
    return page_of(rows, query, each(_show), newest_first=True)
