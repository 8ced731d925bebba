"""Forms of keys: how long they are good, what they may do, how long a former secret lives on."""

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.widgets import AdminDateWidget
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from accounts.key_limits import minute_limits
from accounts.models import ApiKey, Quota
from accounts.networks import clean_networks
from gateway.admin.keys.delivery import BulkDeliveryForm, DeliveryForm
from gateway.admin.line_fields import LinesField, PatternsField
from providers.models import name_validator

if TYPE_CHECKING:
    _ApiKeyModelForm = forms.ModelForm[ApiKey]
else:
    _ApiKeyModelForm = forms.ModelForm

LIFETIMES = [
    ("7", _("7 days")),
    ("30", _("30 days")),
    ("180", _("180 days")),
    ("365", _("365 days")),
    ("never", _("no end")),
    ("date", _("to the end of the day below")),
]
AS_IT_IS = ("", _("as it is"))
GRACE = [
    ("0", _("not at all")),
    ("3600", _("1 hour")),
    ("86400", _("1 day")),
    ("604800", _("7 days")),
]
_FARTHEST_YEARS = 100


def end_of_day(day: Any) -> datetime:
    """Return the last second of `day` in the reader's time zone."""
    return datetime.combine(day, time(23, 59, 59), tzinfo=timezone.get_current_timezone())


class LifetimeForm(forms.Form):
    """When a key ends: so many days from now, never, or with a day. `cleaned_data["ends_at"]` holds the moment."""

    lifetime = forms.ChoiceField(label=capfirst(_("valid for")), initial="30", choices=LIFETIMES)
    expires_on = forms.DateField(
        label=capfirst(_("last day")),
        required=False,
        widget=AdminDateWidget,
        help_text=_("The key works to the end of that day in your time zone."),
    )

    def clean_expires_on(self) -> Any:
        """Return the day. Raises `ValidationError` for one in the past, and for one so far off that it is a slip."""
        day, today = self.cleaned_data["expires_on"], timezone.localdate()
        if day is not None and day < today:
            raise ValidationError(_("This day is over. Choose today or a later day."))
        if day is not None and day.year > today.year + _FARTHEST_YEARS:
            raise ValidationError(_("Choose a day within the next hundred years."))
        return day

    def clean(self) -> dict[str, Any] | None:
        """Turn the choice into the moment of the end."""
        cleaned = super().clean()
        lifetime, day = self.cleaned_data.get("lifetime"), self.cleaned_data.get("expires_on")
        if lifetime == "date":
            if day is not None:
                self.cleaned_data["ends_at"] = end_of_day(day)
            elif "expires_on" not in self.errors:
                self.add_error("expires_on", _("Enter the day with which the key ends."))
        elif day is not None:
            self.add_error("lifetime", _("Choose “to the end of the day below”, or leave that day empty."))
        elif lifetime:
            days = None if lifetime == "never" else timedelta(days=int(lifetime))
            self.cleaned_data["ends_at"] = None if days is None else timezone.now() + days
        return cleaned


class GraceForm(forms.Form):
    """How long the former secret is good beside the new one."""

    grace = forms.ChoiceField(label=capfirst(_("the former secret still works for")), choices=GRACE, initial="86400")

    def grace_time(self) -> timedelta:
        """Return the chosen time."""
        return timedelta(seconds=int(self.cleaned_data["grace"]))


class RotateForm(DeliveryForm, GraceForm):
    """How a key gets a new secret."""


class BulkRotateForm(BulkDeliveryForm, GraceForm):
    """How many keys get new secrets."""


def _models_field() -> PatternsField:
    text = _("Names of models, or patterns such as main/* and claude-haiku-*, one per line. Empty: all.")
    return PatternsField(label=capfirst(ApiKey._meta.get_field("allowed_models").verbose_name), help_text=text)


def _concurrency_field() -> forms.IntegerField:
    return forms.IntegerField(
        label=capfirst(_("calls at the same time")), required=False, min_value=1, max_value=32_767
    )


def _networks_field() -> LinesField:
    column = ApiKey._meta.get_field("allowed_networks")
    return LinesField(label=capfirst(column.verbose_name), help_text=column.help_text)


# Field -> unit of the quota by the minute behind it.
LIMITS = {"requests_per_minute": Quota.Unit.REQUESTS, "tokens_per_minute": Quota.Unit.TOKENS}


class MinuteLimitsForm(forms.Form):
    """How much a key may use in a minute."""

    requests_per_minute = forms.IntegerField(
        label=capfirst(_("requests per minute")), required=False, min_value=1, max_value=1_000_000
    )
    tokens_per_minute = forms.IntegerField(
        label=capfirst(_("tokens per minute")),
        required=False,
        min_value=1,
        max_value=1_000_000_000,
        help_text=_("A client that is refused for either waits and goes on by itself. Empty: no limit."),
    )

    def limits(self) -> dict[str, int | None]:
        """Return unit -> limit."""
        return {unit: self.cleaned_data[name] for name, unit in LIMITS.items()}


class IssueForm(BulkDeliveryForm, MinuteLimitsForm, LifetimeForm):
    """What the new keys of many people have in common."""

    name = forms.CharField(
        label=capfirst(_("name of the keys")), max_length=60, validators=[name_validator], initial="claude-code"
    )
    allowed_models = _models_field()
    allowed_networks = _networks_field()
    max_concurrency = _concurrency_field()
    field_order = (
        "name",
        "lifetime",
        "expires_on",
        "allowed_models",
        "allowed_networks",
        "max_concurrency",
        *LIMITS,
        "delivery",
        "links_as",
    )

    def clean_allowed_networks(self) -> list[str]:
        """Return the networks in their shortest form. Raises `ValidationError` for lines that are none."""
        return clean_networks(self.cleaned_data["allowed_networks"])


class ApiKeyForm(DeliveryForm, MinuteLimitsForm, LifetimeForm, _ApiKeyModelForm):
    """A key, without its secret. Of one that is there the end stays, unless another is chosen."""

    may_limit = True  # else the limits are shown, and stay
    may_scope = True  # likewise what the key may do at the management API

    allowed_models = _models_field()
    allowed_networks = _networks_field()
    max_concurrency = _concurrency_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None and "lifetime" in self.fields:
            lifetime = self.fields["lifetime"]
            assert isinstance(lifetime, forms.ChoiceField)
            lifetime.choices, lifetime.initial, lifetime.required = [AS_IT_IS, *LIFETIMES], "", False
            lifetime.label = capfirst(_("let it end"))
        if "scope" in self.fields:
            self.fields["scope"].disabled = not self.may_scope
        stored = minute_limits(self.instance) if self.instance.pk is not None else {}
        for name, unit in LIMITS.items():
            self.fields[name].initial = f"{stored[unit].normalize():f}" if unit in stored else None
            self.fields[name].disabled = not self.may_limit

    def clean_allowed_networks(self) -> list[str]:
        """Return the networks in their shortest form. Raises `ValidationError` for lines that are none."""
        return clean_networks(self.cleaned_data["allowed_networks"])

    def changed_limits(self) -> dict[str, int | None]:
        """Return unit -> limit of those that were changed."""
        return {unit: self.cleaned_data[name] for name, unit in LIMITS.items() if name in self.changed_data}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, which the stubs leave out
        if "ends_at" in self.cleaned_data:
            self.instance.expires_at = self.cleaned_data["ends_at"]
