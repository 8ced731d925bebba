"""`manage.py rotate_encryption`: encrypt every provider credential and the search secret anew, with the first key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from providers import config_version
from providers.encryption import Undecryptable, reencrypt
from providers.models import Credential
from routing.models import RuntimeSettings


class Command(BaseCommand):
    help = "Encrypt every provider credential anew with the first of WOLFGATE_ENCRYPTION_KEYS."

    def handle(self, *_args: Any, **_options: Any) -> None:
        count = 0
        lost: list[str] = []
        for credential in Credential.objects.select_related("provider"):
            old = credential.encrypted_secret
            try:
                new = reencrypt(old)
            except Undecryptable:
                lost.append(f"{credential.provider.name}/{credential.name}")
                continue
            # Only if it is still the secret that was read: somebody may just have entered another.
            count += Credential.objects.filter(pk=credential.pk, encrypted_secret=old).update(encrypted_secret=new)
        settings = RuntimeSettings.load()
        if old := settings.encrypted_search_secret:
            try:
                new = reencrypt(old)
            except Undecryptable:
                lost.append(_("the search secret"))
            else:
                count += RuntimeSettings.objects.filter(pk=settings.pk, encrypted_search_secret=old).update(
                    encrypted_search_secret=new
                )
        config_version.bump()
        self.stdout.write(
            ngettext("%(count)s credential encrypted anew.", "%(count)s credentials encrypted anew.", count)
            % {"count": count}
        )
        if lost:
            raise CommandError(
                _("No configured key fits %(names)s. Put their old key back behind the first, or enter them anew.")
                % {"names": ", ".join(lost)}
            )
