"""Records: the calls, newest first, each with its attempts, decision and captured stages; and clearing by age."""

import re
import zlib
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from django.db.models import Q
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from accounts import audit
from accounts.models import AuditEntry, CallRecord
from accounts.reports.sources import ESTIMATED, FAILED, FALLBACK, UNPRICED
from gateway.capture import purge_older, read_stage
from gateway.config.rows import identity_of
from gateway.manage.auth import Caller
from gateway.manage.errors import ManageError, invalid
from gateway.manage.operations import Amount, Body, Moment, operation
from gateway.manage.paging import Page, PageQuery, moment_cursor, read_moment_cursor
from gateway.manage.quotas import key_named
from gateway.models import Capture
from routing.models import RuntimeSettings

router = Router(tags=["records"])
_MARKS = {"failed": FAILED, "fallback": FALLBACK, "estimated": ESTIMATED, "unpriced": UNPRICED}
_STAGES = ("client_request", "upstream_request", "upstream_response", "client_response")
_REQUEST_ID = re.compile(r"(?:req_)?([0-9a-fA-F]{32}|[0-9a-fA-F-]{36})")


class RecordOut(Schema):
    """A call."""

    id: str = Field(description="What the client saw in the header request-id.", examples=["req_0197…"])
    user: str
    key: str = Field(examples=["zhang.wei/laptop"])
    team: str | None
    requested_model: str
    kind: str
    wire_format: str
    streamed: bool
    session: str
    subagent: str
    client: str = Field(description="The client program.")
    policy: str
    route: str
    scene: str
    platform: str
    model: str
    status: str = Field(description="running, ok, failed, cancelled or lost.")
    http_status: int | None
    error_kind: str
    error_message: str
    stop_reason: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    thinking_tokens: int
    usage_is_estimated: bool
    cost: Amount | None = Field(description="Null: unpriced.")
    currency: str
    cost_source: str
    fallbacks: int
    started_at: datetime
    settled_at: datetime | None
    ttft_ms: int | None = Field(description="Time to the first token.")
    duration_ms: int | None


class AttemptOut(Schema):
    """One try of one target."""

    platform: str
    credential: str
    model: str
    outcome: str
    http_status: int | None
    message: str
    started_at: datetime
    duration_ms: int


class StageOut(Schema):
    """A stage of the exchange, with credentials masked."""

    method: str = ""
    url: str = ""
    status: int | None = None
    headers: dict[str, Any] = {}
    bytes: int = 0
    truncated: bool = False
    body: str | None = Field(None, description="Null: not kept.")


class RecordDetail(RecordOut):
    """A call with all that is known of it."""

    upstream_request_id: str
    request_bytes: int
    dropped_fields: list[Any]
    reference_cost: Amount | None
    reference_currency: str
    uncached_cost: Amount | None
    decision: dict[str, Any] = Field(description="Why this target: kind, scene, reasons, candidates.")
    attempts: list[AttemptOut]
    stages: dict[str, StageOut | None] | None = Field(
        description="client_request, upstream_request, upstream_response, client_response. Null: not asked for, not "
        "kept, or not to be seen by the caller."
    )


class RecordFilter(PageQuery):
    """Which calls."""

    user: str = Field("", description="A username.")
    key: str = Field("", description="As username/name.")
    team: str = Field("", description="The name of the team of then.")
    model: str = Field("", description="The model that answered.")
    platform: str = Field("", description="The platform that answered.")
    provider: str = Field("", description="The same as platform.")
    scene: str = ""
    kind: str = ""
    status: str = ""
    only: Literal["failed", "fallback", "estimated", "unpriced"] | None = Field(
        None, description="Those that the reports count under this name."
    )
    session: str = ""
    request_id: str = Field("", max_length=60)
    from_moment: Moment | None = Field(None, alias="from")
    to_moment: Moment | None = Field(None, alias="to", description="Before this moment.")


class DetailQuery(Schema):
    """How much of a call."""

    stages: bool = Field(False, description="With the captured stages; needs gateway.view_capture.")


class Clearing(Body):
    """What to clear."""

    older_than_days: int = Field(ge=0, le=36_500, description="0: everything.")


class Cleared(Schema):
    """What was cleared."""

    captures: int


def id_in(text: str) -> UUID | None:
    """Return the number of the call that a request id names, None if it names none."""
    found = _REQUEST_ID.fullmatch(text.strip())
    try:
        return UUID(hex=found[1]) if found else None
    except ValueError:
        return None


_COLUMNS = {
    "session": "session_id",
    "subagent": "agent_id",
    "client": "user_agent",
    "policy": "policy_name",
    "route": "route_name",
    "scene": "scene_name",
    "platform": "provider_name",
    "model": "model_name",
}
_OWN = ("id", "user", "key", "team")


def _values(call: CallRecord) -> dict[str, Any]:
    plain = {name: getattr(call, _COLUMNS.get(name, name)) for name in RecordOut.model_fields if name not in _OWN}
    return plain | {
        "id": call.request_id,
        "user": call.user.username,
        "key": identity_of(call.key),
        "team": call.team.name if call.team else None,
    }


def _rows() -> Any:
    return CallRecord.objects.select_related("user", "key__user", "team")


@operation(
    router,
    "GET",
    "",
    "accounts.view_callrecord",
    summary="List the calls, the newest first",
    description="From one page to the next by the moment a call began: a page costs the same wherever it is.",
    answer=Page[RecordOut],
)
def list_records(caller: Caller, query: Query[RecordFilter]) -> Page[RecordOut]:
    rows = caller.visible(_rows().defer("decision", "dropped_fields", "reservation"))
    for name, value in (
        ("user__username", query.user),
        ("team__name", query.team),
        ("model_name", query.model),
        ("provider_name", query.platform or query.provider),
        ("scene_name", query.scene),
        ("kind", query.kind),
        ("status", query.status),
        ("session_id", query.session),
    ):
        if value:
            rows = rows.filter(**{name: value})
    if query.status and query.status not in CallRecord.Status.values:
        raise invalid(status="must be one of " + ", ".join(CallRecord.Status.values))
    if query.only is not None:
        rows = rows.filter(_MARKS[query.only])
    if query.key:
        rows = rows.filter(key=key_named(caller, "key", query.key))
    if query.request_id:
        rows = rows.filter(pk=id_in(query.request_id))
    if query.from_moment is not None:
        rows = rows.filter(started_at__gte=query.from_moment)
    if query.to_moment is not None:
        rows = rows.filter(started_at__lt=query.to_moment)
    if query.after is not None:
        moment, pk = read_moment_cursor(query.after)
        # The first condition alone bounds the walk along the index.
        rows = rows.filter(started_at__lte=moment).filter(Q(started_at__lt=moment) | Q(pk__lt=pk))
    found = list(rows.order_by("-started_at", "-pk")[: query.limit + 1])
    shown = found[: query.limit]
    last = shown[-1] if len(found) > query.limit else None
    return Page(
        items=[RecordOut(**_values(call)) for call in shown],
        next=None if last is None else moment_cursor(last.started_at, last.pk),
    )


# Before the path that takes any text.
@operation(
    router,
    "POST",
    "/clear",
    "gateway.delete_capture",
    summary="Delete the captured contents of old calls",
    description=(
        "Prompts, answers and headers that were kept of calls which began so many days ago. The calls themselves, their"
        " usage and costs stay: totals do not move."
    ),
    answer=Cleared,
    is_atomic=False,
)
def clear_records(caller: Caller, data: Clearing) -> Cleared:
    count = purge_older(timezone.now() - timedelta(days=data.older_than_days))
    note = f"Deleted what was captured of {count} calls older than {data.older_than_days} days."
    audit.record(AuditEntry.Action.OTHER, RuntimeSettings.load(), note=note)
    return Cleared(captures=count)


@operation(
    router,
    "GET",
    "/{request_id}",
    "accounts.view_callrecord",
    summary="One call: attempts, decision, and what was captured",
    answer=RecordDetail,
)
def get_record(caller: Caller, request_id: str, query: Query[DetailQuery]) -> RecordDetail:
    pk = id_in(request_id)
    if pk is None:
        raise ManageError(404)
    call = get_object_or_404(caller.visible(_rows()), pk=pk)
    attempts = [
        AttemptOut(
            platform=one.provider_name,
            credential=one.credential_name,
            model=one.model_name,
            outcome=one.outcome,
            http_status=one.http_status,
            message=one.message,
            started_at=one.started_at,
            duration_ms=one.duration_ms,
        )
        for one in call.attempts.all()
    ]
    may_see = query.stages and caller.may("gateway.view_capture")
    return RecordDetail(
        **_values(call),
        upstream_request_id=call.upstream_request_id,
        request_bytes=call.request_bytes,
        dropped_fields=call.dropped_fields,
        reference_cost=call.reference_cost,
        reference_currency=call.reference_currency,
        uncached_cost=call.uncached_cost,
        decision=call.decision,
        attempts=attempts,
        stages=_stages(call) if may_see else None,
    )


def _stages(call: CallRecord) -> dict[str, StageOut | None] | None:
    capture = Capture.objects.filter(pk=call.pk).first()
    return None if capture is None else {name: _stage(bytes(getattr(capture, name))) for name in _STAGES}


def _stage(blob: bytes) -> StageOut | None:
    try:
        read = read_stage(blob) if blob else None
    except (ValueError, TypeError, zlib.error):  # damaged
        return None
    if read is None:
        return None
    if read["body"] is not None:
        # Half a surrogate pair cannot be sent.
        read["body"] = read["body"].encode("utf-8", "backslashreplace").decode()
    return StageOut(**{name: value for name, value in read.items() if name in StageOut.model_fields})
