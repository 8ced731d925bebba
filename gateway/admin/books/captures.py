"""Captures: the four stages of an exchange as readable text."""

import json
import re
import zlib
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import AuditEntry
from gateway.admin.books.calls import OfCallAdmin, id_text
from gateway.admin_base import column, exact_time, grouped, row_link
from gateway.capture import read_stage
from gateway.models import Capture

FLAGS = (column(Capture, "is_full"), column(Capture, "is_truncated"))
EXPIRES = column(Capture, "expires_at")
STAGES = ("client_request", "upstream_request", "upstream_response", "client_response")
# As the audit log says it.
READ = gettext_noop("Read the kept prompt and answer.")
DOWNLOADED = gettext_noop("Downloaded a kept prompt or answer.")
# A longer body is folded away until it is clicked.
_OPEN_UP_TO_CHARACTERS = 20_000


def readable_body(body: str) -> str:
    """Return `body` for reading: JSON indented, event streams line by line, Chinese as Chinese.

    Only white space and escapes change; numbers, duplicate names and what is no JSON stay as they are.
    """
    if _is_json(body):
        return _indented(body)
    if not body.lstrip("\ufeff\r\n ").startswith(("event:", "data:", "id:", "retry:", ":")):
        return body
    return "\n".join(_unescaped(line) if line.startswith("data:") else line for line in body.splitlines())


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.")


def _indented(text: str) -> str:
    """Return valid JSON `text` with two spaces of indent per level."""
    parts: list[str] = []
    depth = 0
    previous = ""
    for match in _JSON_TOKEN.finditer(text):
        token = match.group()
        if token in "}]":
            depth -= 1
            if previous not in "{[":
                parts.append("\n" + "  " * depth)
        elif previous in "{[" and previous:
            parts.append("\n" + "  " * depth)
        parts.append(_unescaped(token))
        if token in "{[":
            depth += 1
        elif token == ",":
            parts.append("\n" + "  " * depth)
        elif token == ":":
            parts.append(" ")
        previous = token
    return "".join(parts)


def _unescaped(text: str) -> str:
    """Return JSON `text` with the escapes of visible characters replaced by the characters."""
    return _ESCAPES.sub(_character, text) if "\\u" in text else text


def _character(escape: re.Match[str]) -> str:
    text = escape.group()
    if not text.startswith("\\u"):
        return text
    characters: str = json.loads(f'"{text}"')
    # Half a surrogate pair is not printable, and a quote or backslash would end or change the string.
    return characters if characters.isprintable() and not set(characters) & {'"', "\\"} else text


def _read(blob: bytes) -> dict[str, Any] | None:
    """Return the stage in `blob`, None if there is none or it is damaged."""
    try:
        return read_stage(bytes(blob)) if blob else None
    except (ValueError, TypeError, zlib.error):
        return None


def stage_html(blob: bytes, raw_url: str) -> SafeString:
    """Return one stage as HTML, everything in it escaped; `raw_url` is where its body can be had unchanged."""
    if not blob:
        return format_html("<p>{}</p>", gettext("Nothing was kept of this stage."))
    stage = _read(blob)
    if stage is None:
        return format_html("<p>{}</p>", gettext("This stage cannot be read."))
    headers: dict[str, Any] = stage.get("headers") or {}
    body: str | None = stage.get("body")
    parts = [
        format_html("<p><b>{}</b> {}</p>", _first_line(stage), _size(stage)),
        _folded(
            ngettext("%(count)d header", "%(count)d headers", len(headers)) % {"count": len(headers)},
            "\n".join(f"{name}: {value}" for name, value in headers.items()),
            is_open=False,
        ),
    ]
    if body is None:
        parts.append(format_html("<p>{}</p>", gettext("The body was not kept.")))
    else:
        parts.append(_folded(gettext("Body"), readable_body(body), is_open=len(body) <= _OPEN_UP_TO_CHARACTERS))
        parts.append(format_html('<p><a href="{}">{}</a></p>', raw_url, gettext("Download the body as it was")))
    return format_html_join("", "{}", ((part,) for part in parts))


def _first_line(stage: dict[str, Any]) -> str:
    values = (stage.get("method"), stage.get("url"), stage.get("status"))
    return " ".join(str(value) for value in values if value not in (None, ""))


def _size(stage: dict[str, Any]) -> str:
    size = int(stage.get("bytes") or 0)
    text = ngettext("%(count)s byte", "%(count)s bytes", size) % {"count": grouped(size)}
    return gettext("%(size)s, cut") % {"size": text} if stage.get("truncated") else text


def _folded(summary: str, text: str, *, is_open: bool) -> SafeString:
    return format_html(
        '<details{}><summary>{}</summary><pre style="white-space: pre-wrap; overflow-wrap: anywhere; max-height: 60em;'
        ' overflow: auto">{}</pre></details>',
        " open" if is_open else "",
        summary,
        # A lone surrogate could not be sent to the browser.
        text.encode("utf-8", "backslashreplace").decode(),
    )


def _note_reading(capture: Capture, note: str) -> None:
    """Write into the audit log that somebody reads what a person wrote; headers and sizes are no prompt."""
    if capture.is_full:
        name = f"{capture.call.user}: {capture.call}"
        audit.record(AuditEntry.Action.OTHER, capture, note=note, name=name)


@admin.register(Capture)
class CaptureAdmin(OfCallAdmin):
    """What was kept of exchanges."""

    list_display = ("created", "request", "user", "requested_model", *FLAGS, EXPIRES)
    list_display_links = ("created", "request")
    sortable_by = ()
    list_filter = ("call__started_at", "is_full", "is_truncated", "call__status", "call__user")
    list_select_related = ("call__user",)
    # In the order of the index on the expiry.
    ordering = ("-expires_at",)
    fieldsets = (
        (None, {"fields": ("call_link", FLAGS, ("created", EXPIRES))}),
        (_("1. Request of the client"), {"fields": ("client_request_html",)}),
        (_("2. Request sent upstream"), {"fields": ("upstream_request_html",)}),
        (_("3. Raw answer of the upstream"), {"fields": ("upstream_response_html",)}),
        (_("4. Answer to the client"), {"fields": ("client_response_html",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Capture]:
        """Leave the stages aside in the list."""
        queryset: QuerySet[Capture] = super().get_queryset(request)
        match = request.resolver_match
        return (
            queryset.defer(*STAGES)
            if match is not None and match.url_name == "gateway_capture_changelist"
            else queryset
        )

    def get_urls(self) -> list[Any]:
        """Add the download of a stage's body."""
        view = self.admin_site.admin_view(self.body_view)
        own = path("<uuid:call_id>/<str:stage>/body", view, name="gateway_capture_body")
        return [own, *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show the exchange, and note who read whose."""
        capture: Capture | None = kwargs.get("obj")
        if capture is not None:
            _note_reading(capture, READ)
        return super().render_change_form(request, context, *args, **kwargs)

    def body_view(self, request: HttpRequest, call_id: Any, stage: str) -> HttpResponse:
        """Answer with the body of one stage, unchanged, as a file: a browser must not render it."""
        if stage not in STAGES:
            raise Http404
        capture = self.get_queryset(request).filter(pk=call_id).first()
        if not self.has_view_permission(request, capture):
            raise PermissionDenied
        read = _read(getattr(capture, stage)) if capture is not None else None
        body: str | None = read.get("body") if read is not None else None
        if body is None:
            raise Http404
        assert capture is not None
        _note_reading(capture, DOWNLOADED)
        return HttpResponse(
            body.encode("utf-8", "backslashreplace"),
            content_type="text/plain; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="{call_id}-{stage}.txt"',
                "X-Content-Type-Options": "nosniff",
            },
        )

    @admin.display(description=_("request id"))
    def request(self, capture: Capture) -> SafeString:
        """Return the end of the request id."""
        return id_text(capture.call)

    @admin.display(description=_("created"))
    def created(self, capture: Capture) -> SafeString | str:
        """Return when the exchange was kept, to the second."""
        return exact_time(capture.created_at)

    @admin.display(description=_("user"))
    def user(self, capture: Capture) -> str:
        """Return whose call it was."""
        return str(capture.call.user)

    @admin.display(description=_("requested model"))
    def requested_model(self, capture: Capture) -> str:
        """Return the model that the client asked for."""
        return capture.call.requested_model

    @admin.display(description=_("call"))
    def call_link(self, capture: Capture) -> SafeString:
        """Return a link to the call."""
        return row_link(capture.call)

    def _stage(self, capture: Capture, stage: str) -> SafeString:
        url = reverse("admin:gateway_capture_body", args=(capture.pk, stage))
        return stage_html(getattr(capture, stage), url)

    @admin.display(description=_("content"))
    def client_request_html(self, capture: Capture) -> SafeString:
        """Return the first stage."""
        return self._stage(capture, "client_request")

    @admin.display(description=_("content"))
    def upstream_request_html(self, capture: Capture) -> SafeString:
        """Return the second stage."""
        return self._stage(capture, "upstream_request")

    @admin.display(description=_("content"))
    def upstream_response_html(self, capture: Capture) -> SafeString:
        """Return the third stage."""
        return self._stage(capture, "upstream_response")

    @admin.display(description=_("content"))
    def client_response_html(self, capture: Capture) -> SafeString:
        """Return the fourth stage."""
        return self._stage(capture, "client_response")
