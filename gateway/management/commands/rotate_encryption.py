"""`manage.py rotate_encryption`: encrypt every provider credential and the search secret anew, with the first key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from accounts import audit
from providers import config_version
from providers.encryption import Undecryptable, reencrypt
from providers.models import Credential
from routing.models import RuntimeSettings

ENCRYPTED_ANEW = gettext_noop("The same secret, encrypted anew.")


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
            same = Credential.objects.filter(pk=credential.pk, encrypted_secret=old)
            count += len(audit.update(same, ENCRYPTED_ANEW, encrypted_secret=new))
        settings = RuntimeSettings.load()
        if old := settings.encrypted_search_secret:
            try:
                new = reencrypt(old)
            except Undecryptable:
                lost.append(_("the search secret"))
            else:
                same_settings = RuntimeSettings.objects.filter(pk=settings.pk, encrypted_search_secret=old)
                count += len(audit.update(same_settings, ENCRYPTED_ANEW, encrypted_search_secret=new))
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
