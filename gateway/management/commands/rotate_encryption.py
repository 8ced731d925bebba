"""`manage.py rotate_encryption`: encrypt every stored secret anew, with the first key."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from accounts import audit
from accounts.models import KeyHandover, NotificationChannel
from providers import config_version
from providers.encryption import Undecryptable, reencrypt
from providers.models import Credential
from routing.models import RuntimeSettings

ENCRYPTED_ANEW = gettext_noop("The same secret, encrypted anew.")


def _stored() -> Iterator[tuple[models.Model, str, str]]:
    """Yield each row with a secret, the column of it, and what people call it."""
    for credential in Credential.objects.select_related("provider"):
        yield credential, "encrypted_secret", f"{credential.provider.name}/{credential.name}"
    yield RuntimeSettings.load(), "encrypted_search_secret", _("the search secret")
    for channel in NotificationChannel.objects.all():
        for column in ("encrypted_url", "encrypted_secret"):
            yield channel, column, _("the notification channel %(name)s") % {"name": channel.name}
    for handover in KeyHandover.objects.exclude(encrypted_secret="").select_related("key__user"):
        yield handover, "encrypted_secret", _("the one-time link of %(key)s") % {"key": handover.key}


class Command(BaseCommand):
    help = "Encrypt every stored secret anew with the first of WOLFGATE_ENCRYPTION_KEYS."

    def handle(self, *_args: Any, **_options: Any) -> None:
        count = 0
        lost: dict[str, None] = {}
        for row, column, name in _stored():
            old = getattr(row, column)
            if not old:
                continue
            try:
                new = reencrypt(old)
            except Undecryptable:
                lost[name] = None
                continue
            # Only if it is still the secret that was read: somebody may just have entered another.
            rows = type(row)._default_manager.filter(pk=row.pk, **{column: old})
            count += len(audit.update(rows, ENCRYPTED_ANEW, **{column: new}))
        config_version.bump()
        self.stdout.write(
            ngettext("%(count)s secret encrypted anew.", "%(count)s secrets encrypted anew.", count) % {"count": count}
        )
        if lost:
            raise CommandError(
                _("No configured key fits %(names)s. Put their old key back behind the first, or enter them anew.")
                % {"names": ", ".join(lost)}
            )
