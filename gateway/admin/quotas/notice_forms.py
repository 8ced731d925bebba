"""The form of notification channels: addresses and secrets go in and never come out."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.channel_rules import SIGNED, clean_url
from accounts.models import NotificationChannel
from accounts.notices import events
from gateway.admin.line_fields import TicksField
from gateway.admin_base import SecretField
from providers.encryption import Undecryptable

if TYPE_CHECKING:
    _ChannelModelForm = forms.ModelForm[NotificationChannel]
else:
    _ChannelModelForm = forms.ModelForm

_Kind = NotificationChannel.Kind


def event_choices() -> list[tuple[str, Any]]:
    """Return the events that a channel may be told of."""
    return events.CHOICES


class ChannelForm(_ChannelModelForm):
    """A channel, with write-only fields for its address and its secret."""

    url = SecretField(label="URL")
    secret = SecretField(label=capfirst(_("secret")))
    removes_secret = forms.BooleanField(label=capfirst(_("remove the stored secret")), required=False)
    events = TicksField(
        label=capfirst(_("events")),
        choices=event_choices,
        help_text=_("None: all but the keys that expire, which their owners are told of."),
    )
    language = forms.ChoiceField(
        label=capfirst(_("language")),
        required=False,
        choices=lambda: [("", _("the gateway's")), *settings.LANGUAGES],
    )

    class Meta:
        model = NotificationChannel
        fields = (
            "name",
            "kind",
            "recipients",
            "allow_private_network",
            "team",
            "events",
            "language",
            "is_enabled",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["url"].widget.attrs["size"] = 80
        if "recipients" in self.fields:  # not on the page of one who may only look
            self.fields["recipients"].widget.attrs["rows"] = 4

    def clean(self) -> dict[str, Any]:
        """Put address and secret into the row, encrypted; the row's own checks follow."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        kind = cleaned.get("kind", "")
        if cleaned.get("secret") and cleaned.get("removes_secret"):
            self.add_error("removes_secret", _("Either enter a secret or remove the stored one."))
        elif cleaned.get("secret") or cleaned.get("removes_secret") or (kind and kind not in SIGNED):
            if cleaned.get("secret") and kind and kind not in SIGNED:
                self.add_error("secret", _("Channels of this kind sign nothing; leave the secret out."))
            self.instance.set_secret(cleaned.get("secret", "") if kind in SIGNED else "")
        if kind == _Kind.EMAIL:
            if cleaned.get("url"):
                self.add_error("url", _("A mail has recipients, no URL."))
            self.instance.set_url("", "")
        elif kind and "url" in cleaned:
            self._clean_url(cleaned["url"], bool(cleaned.get("allow_private_network")))
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, which the stubs leave out
        if len(self.errors.get("url", ())) > 1:
            # An address that was refused is not missing too.
            del self.errors["url"].data[1:]

    def _clean_url(self, entered: str, allows_private: bool) -> None:
        """Check the address, also a stored one: what is allowed may have been taken away."""
        try:
            url = entered or self.instance.url()
        except Undecryptable:
            self.add_error("url", _("The stored address cannot be decrypted; enter it again."))
            return
        if not url:
            return  # the row says what is missing
        try:
            host = clean_url(url, allows_private=allows_private)
        except ValidationError as error:
            self.add_error("url", error)
            return
        if entered:
            self.instance.set_url(entered, host)
