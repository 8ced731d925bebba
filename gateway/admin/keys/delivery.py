"""How new secrets reach their owners: shown or downloaded at once, or behind one-time links."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import handovers
from accounts.models import ApiKey, User
from gateway.admin.keys.one_time import LINKED, keys_file, note_handing_out, secrets_file
from gateway.admin_base import ModelAdmin
from gateway.handover_page import link_to

NOW = "now"
# The value is how many seconds the link is good.
LINKS = [
    ("3600", _("behind a one-time link, good for 1 hour")),
    ("86400", _("behind a one-time link, good for 1 day")),
    ("604800", _("behind a one-time link, good for 7 days")),
]


class DeliveryForm(forms.Form):
    """Whether a secret is shown now, or to whoever opens a link first."""

    delivery = forms.ChoiceField(
        label=capfirst(_("hand the secret over")),
        choices=[(NOW, _("on the next page, this once")), *LINKS],
        initial=NOW,
        required=False,
        help_text=_("A link shows the secret once. Who opens it, when and from where, is on the list of links."),
    )

    def link_time(self) -> timedelta | None:
        """Return how long the link is good, None for no link."""
        chosen = self.cleaned_data.get("delivery") or NOW
        return None if chosen == NOW else timedelta(seconds=int(chosen))


class BulkDeliveryForm(DeliveryForm):
    """Whether many secrets come as a file, or each behind a link of its own."""

    delivery = forms.ChoiceField(
        label=capfirst(_("hand the secrets over")),
        choices=[(NOW, _("as a file with all secrets, this once")), *LINKS],
        initial=NOW,
        required=False,
        help_text=_("A link shows the secret once. Who opens it, when and from where, is on the list of links."),
    )
    links_as = forms.ChoiceField(
        label=capfirst(_("give me the links")),
        choices=[("file", _("as a file: user, key, link")), ("page", _("as a page to copy from"))],
        initial="file",
        required=False,
    )


Issued = Sequence[tuple[ApiKey, str]]


def make_links(request: HttpRequest, issued: Issued, lifetime: timedelta) -> list[tuple[ApiKey, str]]:
    """Put each (key, secret) behind a link and return each key with its link. In the transaction that made the keys."""
    creator = request.user if isinstance(request.user, User) else None
    note_handing_out((key for key, _secret in issued), LINKED)
    return [(key, link_to(token, request)) for key, token in handovers.create_all(issued, creator, lifetime)]


def links_page(page: ModelAdmin, request: HttpRequest, links: Issued, lifetime: timedelta) -> HttpResponse:
    """Return the page with the links; like the secrets they are shown this once."""
    count = len(links)
    context: dict[str, Any] = {
        **page.admin_site.each_context(request),
        "title": ngettext("%(count)d one-time link", "%(count)d one-time links", count) % {"count": count},
        "opts": page.opts,
        "links": links,
        "ends_at": timezone.now() + lifetime,
    }
    return TemplateResponse(request, "admin/accounts/apikey/links.html", context)


def deliver(
    page: ModelAdmin, request: HttpRequest, issued: Issued, form: BulkDeliveryForm, file_name: str
) -> HttpResponse:
    """Return the answer with many new secrets, or with the links to them. In the transaction that made the keys."""
    lifetime = form.link_time()
    if lifetime is None:
        return secrets_file(file_name, issued)
    links = make_links(request, issued, lifetime)
    if form.cleaned_data.get("links_as") == "page":
        return links_page(page, request, links, lifetime)
    return keys_file(file_name, links, "link")
