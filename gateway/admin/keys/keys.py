"""Keys."""

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import keys
from accounts.key_limits import set_minute_limits
from accounts.models import ApiKey, CallRecord, KeyHandover, KeyNetwork, Quota, User
from accounts.roles import in_charge_of
from gateway.admin.keys.bulk import (
    extend_page,
    extend_view,
    may_limit,
    posted,
    refuse_scoped,
    rotate_page,
    rotate_selected_view,
    selected_keys,
)
from gateway.admin.keys.forms import LIMITS, ApiKeyForm
from gateway.admin.keys.pages import delivered, rotate_view
from gateway.admin.people.role_forms import beneath, is_superuser, may_give_roles
from gateway.admin_base import LedgerAdmin, PermanentAdmin, column, exact_time, see_also
from gateway.admin_scope import is_restricted

if TYPE_CHECKING:
    _ApiKeyModelForm = forms.ModelForm[ApiKey]
else:
    _ApiKeyModelForm = forms.ModelForm


MAY_FIELDS = ("policy", "allowed_models", "allowed_networks", "max_concurrency", *LIMITS, "capture")
MANAGEMENT: Any = (
    _("Management"),
    {
        "fields": ("scope",),
        "description": _(
            "Only an administrator sets this. Whoever has the secret of such a key needs neither login nor password:"
            " with “read reports” it reads the usage and the costs of everybody; with “administer” it changes people,"
            " keys, quotas and prices and issues further keys. Give it to programs, with an end and with allowed"
            " networks."
        ),
    },
)


def _key_state(key: ApiKey) -> str:
    if key.revoked_at is not None or not key.is_active:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= timezone.now():
        return "expired"
    return "active"


# As accounts/sightings.py writes it.
_FLAG_REASON = re.compile(r"used from (?P<count>\d+) networks within (?P<hours>\d+) hours")
_KEY_STATES = {"active": _("active"), "expired": _("expired"), "revoked": _("revoked")}


def key_state_text(key: ApiKey) -> str:
    """Return whether a key works, in words."""
    return str(_KEY_STATES[_key_state(key)])


class KeyStateFilter(admin.SimpleListFilter):
    """Keys that work, have ended, or were revoked."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states."""
        return list(_KEY_STATES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        """Return the keys in the chosen state."""
        not_revoked = Q(is_active=True, revoked_at__isnull=True)
        expired = Q(expires_at__isnull=False, expires_at__lte=timezone.now())
        match self.value():
            case "active":
                return queryset.filter(not_revoked).exclude(expired)
            case "expired":
                return queryset.filter(not_revoked & expired)
            case "revoked":
                return queryset.exclude(not_revoked)
        return queryset


class FlagFilter(admin.SimpleListFilter):
    """Keys that look leaked."""

    title = _("flag")
    parameter_name = "flag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the two choices."""
        return [("yes", _("flagged")), ("no", _("not flagged"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        """Return the keys with the flag, or without."""
        chosen = self.value()
        return queryset if chosen is None else queryset.filter(flagged_at__isnull=chosen != "yes")


@admin.register(KeyNetwork)
class KeyNetworkAdmin(LedgerAdmin):
    """From which networks keys were used."""

    list_display = ("key", "network", column(KeyNetwork, "first_seen_at"), column(KeyNetwork, "last_seen_at"))
    fields = list_display
    sortable_by = ()
    list_filter = ("last_seen_at", "key__user__team")
    list_select_related = ("key__user",)
    search_fields = ("network", "key__name", "key__user__username")
    ordering = ("-pk",)


@admin.register(ApiKey)
class ApiKeyAdmin(PermanentAdmin):
    """Keys. The secret is on the page that answers the creation, and nowhere else ever after."""

    form = ApiKeyForm
    list_display = (
        "name",
        "owner",
        "prefix",
        "state",
        "flag",
        "policy",
        "scope_text",
        column(ApiKey, "expires_at"),
        column(ApiKey, "created_at"),
    )
    list_filter = (KeyStateFilter, FlagFilter, "scope", "expires_at", "policy", "user__team", "user__is_service")
    list_select_related = ("user__team", "policy")
    search_fields = ("name", "prefix", "user__username", "user__email", "note")
    ordering = ("user__username", "name")
    autocomplete_fields = ("user", "policy")
    actions = ["activate", "revoke", "extend", "rotate", "clear_flag"]
    readonly_fields = (
        "prefix",
        "state",
        "flag",
        "expires_at",
        "previous_prefix",
        "previous_expires_at",
        "links",
        "revoked_at",
        "created_at",
    )
    fieldsets = (
        (None, {"fields": ("user", "name", "note")}),
        (_("State"), {"fields": ("prefix", "state", "flag", "expires_at", "revoked_at", "created_at", "links")}),
        (_("End"), {"fields": ("lifetime", "expires_on")}),
        (_("Rotation"), {"fields": ("previous_prefix", "previous_expires_at"), "classes": ("collapse",)}),
        (_("What the key may do"), {"fields": MAY_FIELDS}),
        MANAGEMENT,
    )
    add_fieldsets = (
        (None, {"fields": ("user", "name", "note")}),
        (_("End"), {"fields": ("lifetime", "expires_on")}),
        (_("What the key may do"), {"fields": MAY_FIELDS}),
        MANAGEMENT,
        (_("Handing over"), {"fields": ("delivery",)}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields; of a new key there is nothing to see yet."""
        if obj is None:
            return self.add_fieldsets
        if not self.has_change_permission(request, obj):
            return [part for part in self.fieldsets if "lifetime" not in part[1]["fields"]]
        return self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return also the owner of an existing key: its history is that person's.

        Where calls go, what is kept of them and who administers are decided above a lead.
        """
        decided: tuple[str, ...] = () if may_give_roles(request) else ("scope",)
        if is_restricted(request):
            decided = ("policy", "capture", "scope")
        return (*decided, *self.readonly_fields) if obj is None else ("user", *decided, *self.readonly_fields)

    def changeable(self, request: HttpRequest, rows: QuerySet[Any] | None = None) -> QuerySet[Any]:
        """Return those of `rows` that the reader may change: a new secret is not to be a way up."""
        allowed = super().changeable(request, rows)
        if is_superuser(request):
            return allowed
        below = beneath(request, User.objects.all()).values("pk")
        if is_restricted(request):
            return allowed.filter(scope=ApiKey.Scope.NONE, user__in=below)
        # Whoever answers for all keys may revoke one that administers; more `refuse_scoped` keeps to administrators.
        return allowed.filter(Q(scope=ApiKey.Scope.NONE) | Q(user__in=below)) if may_give_roles(request) else allowed

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False also for a key with which one could do more than the reader may."""
        if not super().has_change_permission(request, obj):
            return False
        if obj is None or obj.pk is None or not obj.scope or is_superuser(request):
            return True
        return may_give_roles(request) and self.changeable(request, ApiKey.objects.filter(pk=obj.pk)).exists()

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> QuerySet[Any] | None:
        """Return for whom keys are made: by a lead for the people of the led teams who may no more than the lead."""
        rows = super().get_field_queryset(db, db_field, request)
        if rows is None or db_field.name != "user" or not is_restricted(request):
            return rows
        return beneath(request, in_charge_of(rows, request.user))

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Save the row; a new one with a fresh secret, handed to `response_add` on the row."""
        if obj.scope and not change and not beneath(request, User.objects.filter(pk=obj.user_id)).exists():
            raise PermissionDenied
        if not change:
            secret = keys.new_secret()
            keys.assign(obj, secret)
            vars(obj)["issued"] = (secret, form)
        super().save_model(request, obj, form, change)
        if "scope" in form.changed_data and obj.scope and not (obj.expires_at and obj.allowed_networks):
            text = gettext("The key may manage the gateway. Give it an end and allowed networks as well.")
            self.message_user(request, text, messages.WARNING)
        if limits := form.changed_limits():
            set_minute_limits([obj], limits)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form; who may not change quotas leaves those of the key alone."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        is_own = obj is not None and obj.user_id == request.user.pk
        form.may_limit = may_limit(request) and not (is_own and is_restricted(request))
        form.may_scope = may_give_roles(request)
        return form

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret, or the link to it, in the answer itself."""
        return delivered(self, request, obj, *vars(obj).pop("issued"))

    def get_urls(self) -> list[Any]:
        """Add the pages that give keys new secrets or later ends."""
        own = [
            path(route, self.admin_site.admin_view(partial(view, self)), name=f"accounts_apikey_{name}")
            for route, view, name in (
                ("<int:pk>/rotate/", rotate_view, "rotate"),
                ("rotate/", posted(rotate_selected_view), "rotate_selected"),
                ("extend/", posted(extend_view), "extend"),
            )
        ]
        return [*own, *super().get_urls()]

    @admin.display(description=_("owner"), ordering="user__username")
    def owner(self, key: ApiKey) -> str:
        """Return the person, or the service and the team that answers for it."""
        if key.user.is_service:
            return gettext("%(service)s, a service of %(team)s") % {"service": key.user, "team": key.user.team}
        return str(key.user)

    @admin.display(description=_("state"))
    def state(self, key: ApiKey) -> str:
        """Return whether the key works."""
        return key_state_text(key)

    @admin.display(description=_("management"), ordering="scope")
    def scope_text(self, key: ApiKey) -> str:
        """Return what the key may do beside calling models."""
        return str(key.get_scope_display()) if key.scope else "-"

    @admin.display(description=_("see also"))
    def links(self, key: ApiKey) -> SafeString | str:
        """Return links to the quotas, the calls and the usage of the key."""
        links = see_also(
            key,
            (Quota, gettext("quotas"), "key__id__exact"),
            (CallRecord, gettext("calls"), "key__id__exact"),
            (KeyNetwork, gettext("networks"), "key__id__exact"),
            (KeyHandover, gettext("one-time links"), "key__id__exact"),
        )
        if key.pk is None:
            return links
        text = gettext("usage report")
        return format_html('{} · <a href="{}">{}</a>', links, reverse("reports:key", args=(key.pk,)), text)

    @admin.display(description=_("flag"), ordering="flagged_at")
    def flag(self, key: ApiKey) -> SafeString | str:
        """Return why the key looks leaked, and since when."""
        if key.flagged_at is None:
            return "-"
        found = _FLAG_REASON.fullmatch(key.flag_reason)
        text = (
            gettext("used from %(count)s networks within %(hours)s hours") % found.groupdict()
            if found
            else key.flag_reason
        )
        return format_html("<strong>⚑</strong> {} ({})", text, exact_time(key.flagged_at))

    @admin.action(permissions=["change"], description=_("Revoke the selected %(verbose_name_plural)s"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Refuse the keys from the next call on."""
        rows = list(queryset)
        for key in rows:
            keys.revoke(key)
        self.log_rows(request, rows, "Revoked.")
        count = len(rows)
        self.message_user(
            request,
            ngettext("%(count)d key revoked.", "%(count)d keys revoked.", count) % {"count": count},
            messages.WARNING,
        )

    @admin.action(permissions=["change"], description=_("Extend the selected %(verbose_name_plural)s"))
    def extend(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        """Ask for the new end of the keys."""
        return extend_page(self, request, selected_keys(queryset))

    @admin.action(permissions=["change"], description=_("Rotate the selected %(verbose_name_plural)s"))
    def rotate(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        """Ask for the grace period of the former secrets."""
        return rotate_page(self, request, selected_keys(queryset))

    @admin.action(permissions=["change"], description=_("Clear the flag of the selected %(verbose_name_plural)s"))
    def clear_flag(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Take the flags off; the networks are counted anew from then on."""
        rows = list(queryset.filter(flagged_at__isnull=False))
        for key in rows:
            self.log_rows(request, [key], f"Cleared the flag: {key.flag_reason} ({keys.clear_flag(key)}).")
        count = len(rows)
        self.message_user(
            request, ngettext("%(count)d flag cleared.", "%(count)d flags cleared.", count) % {"count": count}
        )

    @admin.action(permissions=["change"], description=_("Activate the selected %(verbose_name_plural)s"))
    def activate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Take the revocation of the keys back."""
        try:
            refuse_scoped(request, queryset)
        except ValidationError as error:
            self.message_user(request, error.messages[0], messages.ERROR)
            return
        count = self.update_rows(request, queryset, "Activated.", is_active=True, revoked_at=None)
        self.message_user(
            request, ngettext("%(count)d key activated.", "%(count)d keys activated.", count) % {"count": count}
        )
