"""Secrets that leave the gateway once, as a file of comma-separated values."""

import csv
import io
from collections.abc import Iterable, Sequence

from django.http import HttpResponse
from django.utils.translation import gettext_noop

from accounts import audit
from accounts.audit_values import bounded
from accounts.exports.cells import guarded
from accounts.models import ApiKey, AuditEntry, User

# As the audit log says it.
DOWNLOADED = gettext_noop("Downloaded the secrets of keys.")


def secrets_file(name: str, issued: Iterable[Sequence[ApiKey | str]], what: str = "secret") -> HttpResponse:
    """Return the answer that downloads each (key, secret) of `issued`; nothing keeps its content.

    `what` is the head of the last column, which may hold links to the secrets instead.

    With a byte order mark, without which Excel takes UTF-8 for the local code page.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["user", "key", what])
    names = []
    for key, secret in issued:
        assert isinstance(key, ApiKey)
        names.append(str(key))
        writer.writerow([guarded(key.user.get_username()), guarded(key.name), secret])
    _note_download(names)
    return HttpResponse(
        text.getvalue().encode("utf-8-sig"),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _note_download(names: list[str]) -> None:
    """Write into the audit log who got the secrets of the keys called so."""
    actor = audit.actor()
    row = actor.user if actor is not None and actor.user is not None else User()
    audit.record(AuditEntry.Action.OTHER, row, {"keys": bounded(None, names)}, DOWNLOADED)
