"""Secrets that leave the gateway once, as a file of comma-separated values."""

import csv
import io
from collections.abc import Iterable

from django.http import HttpResponse
from django.utils.translation import gettext_noop

from accounts import audit
from accounts.audit_values import bounded
from accounts.exports.cells import guarded
from accounts.models import ApiKey, AuditEntry, User

# As the audit log says it.
DOWNLOADED = gettext_noop("Downloaded the secrets of keys.")
LINKED = gettext_noop("Was given one-time links to the secrets of keys.")

Issued = Iterable[tuple[ApiKey, str]]


def secrets_file(name: str, issued: Issued) -> HttpResponse:
    """Return the answer that downloads each (key, secret) of `issued`; nothing keeps its content."""
    rows = list(issued)
    note_handing_out([key for key, _secret in rows], DOWNLOADED)
    return keys_file(name, rows, "secret")


def keys_file(name: str, rows: Issued, what: str) -> HttpResponse:
    """Return the answer that downloads each (key, text) of `rows`; `what` is the head of the texts.

    With a byte order mark, without which Excel takes UTF-8 for the local code page.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["user", "key", what])
    for key, value in rows:
        writer.writerow([guarded(key.user.get_username()), guarded(key.name), value])
    return HttpResponse(
        text.getvalue().encode("utf-8-sig"),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def note_handing_out(handed_out: Iterable[ApiKey], note: str) -> None:
    """Write into the audit log who got something about these keys, as `note` says."""
    actor = audit.actor()
    row = actor.user if actor is not None and actor.user is not None else User()
    audit.record(AuditEntry.Action.OTHER, row, {"keys": bounded(None, [str(key) for key in handed_out])}, note)
