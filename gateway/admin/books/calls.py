"""Calls and their attempts: to be read and searched, never changed."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Attempt, CallRecord
from gateway.admin.books.call_examples import NEEDED, example_link, example_view
from gateway.admin.books.call_filters import CostFilter, KindFilter, PolicyFilter, ProviderFilter, SceneFilter
from gateway.admin.books.call_search import matching_calls
from gateway.admin.books.decisions import decision_html, kind_label
from gateway.admin.reports.filters import CALL_REPORT_FILTERS
from gateway.admin_base import (
    LedgerAdmin,
    ReadOnlyInline,
    column,
    exact_time,
    grouped,
    list_link,
    readable,
    row_link,
)
from gateway.admin_scope import permitted_fields
from gateway.models import Capture
from routing.models import RequestKind

_STATUS_COLOURS = {
    CallRecord.Status.RUNNING: "#447e9b",
    CallRecord.Status.OK: "#3a7d34",
    CallRecord.Status.FAILED: "#ba2121",
    CallRecord.Status.CANCELLED: "#8a6d00",
    CallRecord.Status.LOST: "#ba2121",
}
# Field -> the permissions without which it would lead to a page that refuses, or tell of policies.
_NEEDED = {
    "example_link": NEEDED,
    "capture_link": ("gateway.view_capture",),
    "decision_text": ("routing.view_policy",),
}


class AttemptInline(ReadOnlyInline):
    """The targets that were tried for a call."""

    model = Attempt
    fields = (
        "number",
        "provider_name",
        "model_name",
        "credential_name",
        "outcome",
        "http_status",
        column(Attempt, "duration_ms"),
        column(Attempt, "started_at"),
        "message",
    )
    readonly_fields = fields
    ordering = ("position",)

    @admin.display(description=_("no."))
    def number(self, attempt: Attempt) -> int:
        """Return which try of its call this was, from 1."""
        return attempt.position + 1


class OfCallAdmin(LedgerAdmin):
    """Rows of calls, found by what their calls are found by."""

    search_fields = ("call__session_id", "call__model_name", "call__user__username", "call__key__name")
    search_help_text = _("A request id, session id or model as it is written, or part of the name of a user or key.")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look the calls up."""
        term = search_term.strip()
        return queryset.filter(call__in=CallRecord.objects.filter(matching_calls(term))) if term else queryset, False


@admin.register(CallRecord)
class CallRecordAdmin(LedgerAdmin):
    """Calls, the running ones included."""

    change_list_template = "admin/accounts/callrecord/change_list.html"
    list_display = (
        "started",
        "user",
        "key_name",
        "requested_model",
        "routed",
        "outcome",
        "tokens",
        "cost_text",
        "times",
        "request",
    )
    list_display_links = ("started", "request")
    # Another column would sort the whole ledger.
    sortable_by = ("started",)
    list_filter = (
        "started_at",
        "status",
        ProviderFilter,
        "user",
        "team",
        SceneFilter,
        KindFilter,
        PolicyFilter,
        CostFilter,
        *CALL_REPORT_FILTERS,
    )
    list_select_related = ("user", "key")
    search_fields = ("session_id", "model_name", "user__username", "key__name")
    search_help_text = _("A request id, session id or model as it is written, or part of the name of a user or key.")
    ordering = ("-started_at",)
    inlines = (AttemptInline,)

    class Media:
        css = {"all": ("gateway/decision.css",)}

    fieldsets = (
        (
            None,
            {
                "fields": (
                    "request_id_text",
                    ("coloured_status", "http_status", "stop_reason"),
                    ("error_kind", "error_message"),
                    "capture_link",
                )
            },
        ),
        (
            _("Who"),
            {
                "fields": (
                    ("user", "key", "team"),
                    "session_link",
                    "agent_id",
                    "user_agent",
                    ("wire_format", column(CallRecord, "streamed")),
                )
            },
        ),
        (
            _("Where it went"),
            {
                "fields": (
                    ("requested_model", "target"),
                    ("kind_text", "scene_name"),
                    ("policy_name", "route_name"),
                    "upstream_request_id",
                    "dropped_text",
                )
            },
        ),
        (_("Decision"), {"fields": ("decision_text", "example_link")}),
        (
            _("Usage"),
            {
                "fields": (
                    tuple(
                        column(CallRecord, f"{name}_tokens")
                        for name in ("input", "cache_read", "cache_write", "cache_write_1h")
                    ),
                    (
                        column(CallRecord, "output_tokens"),
                        column(CallRecord, "thinking_tokens"),
                        column(CallRecord, "usage_is_estimated"),
                    ),
                    ("cost_text", "cost_source", "reference_text"),
                    column(CallRecord, "request_bytes"),
                )
            },
        ),
        (
            _("Times"),
            {
                "fields": (
                    ("started", "settled", "booked_on"),
                    (column(CallRecord, "ttft_ms"), column(CallRecord, "duration_ms")),
                    "worker_id",
                )
            },
        ),
    )

    def get_urls(self) -> list[Any]:
        """Add the page that puts a call's words among the examples of a scene."""
        view = self.admin_site.admin_view(partial(example_view, self.admin_site))
        return [path("<uuid:call_id>/example/", view, name="accounts_callrecord_example"), *super().get_urls()]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out links to pages that would refuse, and to who knows no policies, how one was applied."""
        return permitted_fields(request, self.fieldsets, _NEEDED)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look a term up through the indexes; a LIKE over the ledger would read all of it."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(matching_calls(term)), False

    @admin.display(description=_("started"), ordering="started_at")
    def started(self, call: CallRecord) -> SafeString | str:
        """Return when the call came, to the second."""
        return exact_time(call.started_at)

    @admin.display(description=_("settled"))
    def settled(self, call: CallRecord) -> SafeString | str:
        """Return when the call was booked, to the second."""
        return exact_time(call.settled_at)

    @admin.display(description=_("request id"))
    def request(self, call: CallRecord) -> SafeString:
        """Return the end of the request id."""
        return id_text(call)

    @admin.display(description=_("request id"))
    def request_id_text(self, call: CallRecord) -> str:
        """Return the request id that the client saw."""
        return call.request_id

    @admin.display(description=_("key"), ordering="key__name")
    def key_name(self, call: CallRecord) -> str:
        """Return the name of the key; its owner is in the column beside it."""
        return call.key.name

    @admin.display(description=_("target"))
    def target(self, call: CallRecord) -> str:
        """Return provider/model of the answer."""
        return f"{call.provider_name}/{call.model_name}" if call.provider_name else "-"

    @admin.display(description=_("status"), ordering="status")
    def coloured_status(self, call: CallRecord) -> SafeString:
        """Return the status, failures in red."""
        colour = _STATUS_COLOURS.get(CallRecord.Status(call.status), "inherit")
        return format_html('<b style="color:{}">{}</b>', colour, call.get_status_display())

    @admin.display(description=_("tokens in / out"))
    def tokens(self, call: CallRecord) -> str:
        """Return all prompt tokens, cached or not, and the output tokens."""
        prompt = call.input_tokens + call.cache_read_tokens + call.cache_write_tokens
        return f"{'~' if call.usage_is_estimated else ''}{grouped(prompt)} / {grouped(call.output_tokens)}"

    @admin.display(description=_("first token / total (ms)"))
    def times(self, call: CallRecord) -> str:
        """Return how long the client waited for the first token and for all."""
        return f"{readable(call.ttft_ms)} / {readable(call.duration_ms)}"

    @admin.display(description=_("status"), ordering="status")
    def outcome(self, call: CallRecord) -> SafeString:
        """Return the status, of a failed call also what the client got."""
        status = self.coloured_status(call)
        if call.status == CallRecord.Status.OK or call.http_status is None:
            return status
        return format_html("{} {}", status, call.http_status)

    @admin.display(description=_("cost"))
    def cost_text(self, call: CallRecord) -> str:
        """Return the cost with its currency."""
        return amount(call.cost, call.currency)

    @admin.display(description=_("cost on the reference model"))
    def reference_text(self, call: CallRecord) -> str:
        """Return what the reference model would have cost."""
        return amount(call.reference_cost, call.reference_currency)

    @admin.display(description=_("decision"))
    def decision_text(self, call: CallRecord) -> SafeString:
        """Return why the call went where it went."""
        return decision_html(call.decision)

    @admin.display(description=_("learning"))
    def example_link(self, call: CallRecord) -> SafeString:
        """Return a link to the page that makes the call an example of a scene."""
        return example_link(call)

    @admin.display(description=_("kind"))
    def kind_text(self, call: CallRecord) -> str:
        """Return what the request was for."""
        return kind_label(call.kind)

    @admin.display(description=_("target"))
    def routed(self, call: CallRecord) -> SafeString | str:
        """Return the target, below it the scene, or what the call was for if that was no request of the user."""
        intent = call.scene_name or ("" if call.kind == RequestKind.MAIN else kind_label(call.kind))
        return (
            format_html('{}<br><span class="quiet">{}</span>', self.target(call), intent)
            if intent
            else self.target(call)
        )

    @admin.display(description=_("fields not forwarded"))
    def dropped_text(self, call: CallRecord) -> str:
        """Return the fields of the request that the upstream does not know."""
        return ", ".join(str(field) for field in call.dropped_fields) or "-"

    @admin.display(description=_("session"))
    def session_link(self, call: CallRecord) -> SafeString | str:
        """Return a link to the calls of the same session."""
        return list_link(CallRecord, call.session_id, session_id=call.session_id) if call.session_id else "-"

    @admin.display(description=_("capture"))
    def capture_link(self, call: CallRecord) -> SafeString | str:
        """Return a link to what was kept of the exchange."""
        capture = Capture.objects.filter(pk=call.pk).only("pk").first()
        return row_link(capture, gettext("request and answer")) if capture is not None else gettext("nothing was kept")


def id_text(call: CallRecord) -> SafeString:
    """Return the end of the request id, which tells calls apart: it begins with the time. The whole is its title."""
    return format_html('<span title="{}" style="white-space: nowrap">…{}</span>', call.request_id, call.request_id[-8:])


def amount(cost: Any, currency: str) -> str:
    """Return a cost with its currency, for reading; None is an unknown cost, not a free call."""
    if cost is None:
        return gettext("unknown")
    # Two decimals at least, and of small amounts as many as there are.
    whole, _dot, decimals = grouped(cost).partition(".")
    return f"{whole}.{decimals.ljust(2, '0')} {currency}"


@admin.register(Attempt)
class AttemptAdmin(OfCallAdmin):
    """Tries of targets."""

    list_display = (
        "started",
        "call_link",
        "number",
        "target",
        "credential_name",
        "outcome",
        "http_status",
        column(Attempt, "duration_ms"),
        "message",
    )
    sortable_by = ()
    list_filter = ("call__started_at", ProviderFilter, "call__status")
    list_select_related = ("call",)
    # Attempts are written with the settle of their call, and their number is the only index in that order.
    ordering = ("-pk",)

    @admin.display(description=_("started"))
    def started(self, attempt: Attempt) -> SafeString | str:
        """Return when the target was asked, to the second."""
        return exact_time(attempt.started_at)

    @admin.display(description=_("call"))
    def call_link(self, attempt: Attempt) -> SafeString:
        """Return a link to the call."""
        return row_link(attempt.call, id_text(attempt.call))

    @admin.display(description=_("no."))
    def number(self, attempt: Attempt) -> int:
        """Return which try of its call this was, from 1."""
        return attempt.position + 1

    @admin.display(description=_("target"))
    def target(self, attempt: Attempt) -> str:
        """Return provider/model."""
        return f"{attempt.provider_name}/{attempt.model_name}"
