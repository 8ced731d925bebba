"""People, teams, keys and quotas."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import keys
from accounts.models import ApiKey, CallRecord, Quota, Team, User
from gateway.admin_base import ModelAdmin, PermanentAdmin, TimeZoneField, column, list_link

if TYPE_CHECKING:
    _ApiKeyModelForm = forms.ModelForm[ApiKey]
    _DjangoUserAdmin = DjangoUserAdmin[User]
else:
    _ApiKeyModelForm = forms.ModelForm
    _DjangoUserAdmin = DjangoUserAdmin

admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups of permissions."""


@admin.register(Team)
class TeamAdmin(PermanentAdmin):
    """Teams."""

    list_display = ("name", "cost_center", "parent", "lead", "policy", "is_active")
    list_filter = ("is_active", "policy", "parent")
    list_select_related = ("parent", "lead", "policy")
    search_fields = ("name", "cost_center", "lead__username")
    ordering = ("name",)
    autocomplete_fields = ("parent", "lead", "policy")
    fields = ("name", "cost_center", "parent", "lead", "policy", "is_active", "links", "created_at")
    readonly_fields = ("links", "created_at")

    @admin.display(description=_("see also"))
    def links(self, team: Team) -> SafeString | str:
        """Return links to the people, the quotas and the calls of the team."""
        return _links(
            team,
            (User, gettext("people"), "team__id__exact"),
            (Quota, gettext("quotas"), "team__id__exact"),
            (CallRecord, gettext("calls"), "team__id__exact"),
        )


def _links(row: models.Model, *targets: tuple[type[models.Model], str, str]) -> SafeString | str:
    if row.pk is None:
        return "-"
    return format_html_join(" · ", "{}", ((list_link(model, text, **{name: row.pk}),) for model, text, name in targets))


@admin.register(User)
class UserAdmin(_DjangoUserAdmin, PermanentAdmin):
    """People."""

    list_display = (
        "username",
        "email",
        "team",
        "policy",
        "is_active",
        "is_staff",
        column(User, "last_login"),
        column(User, "must_change_password"),
    )
    list_filter = ("is_active", "is_staff", "is_superuser", "must_change_password", "team", "groups")
    list_select_related = ("team", "policy")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    autocomplete_fields = ("team", "policy")
    readonly_fields = ("links", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "must_change_password")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email", "team", "policy", "language", "time_zone")}),
        (_("Usage"), {"fields": ("links",)}),
        (_("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Times"), {"fields": ("last_login", "date_joined"), "classes": ("collapse",)}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": (
                    "username",
                    "email",
                    "team",
                    "usable_password",
                    "password1",
                    "password2",
                    "must_change_password",
                ),
            },
        ),
    )

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        if db_field.name == "language":
            choices = [("", _("as the browser asks")), *settings.LANGUAGES]
            return forms.ChoiceField(label=capfirst(db_field.verbose_name), choices=choices, required=False)
        if db_field.name == "time_zone":
            return TimeZoneField(
                label=capfirst(db_field.verbose_name), empty=_("the business time zone"), required=False
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the defaults of a new person: the password that an administrator thought up is temporary."""
        return {"must_change_password": True, **super().get_changeform_initial_data(request)}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return also what could lock oneself out, or make oneself more than one is."""
        fields = list(self.readonly_fields)
        if not _is_superuser(request):
            fields += ["is_superuser", "is_staff", "groups", "user_permissions"]
        if obj is not None and obj.pk == request.user.pk:
            fields += ["is_active", "is_staff", "is_superuser", "must_change_password"]
        return tuple(dict.fromkeys(fields))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False also for a superuser's row if the caller is none: its password would be a way up."""
        if obj is not None and obj.is_superuser and not _is_superuser(request):
            return False
        return super().has_change_permission(request, obj)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Set somebody's password; unless it is one's own, it is a temporary one."""
        before = User.objects.filter(pk=id).values_list("password", flat=True).first()
        response = super().user_change_password(request, id, form_url)
        if request.method == "POST" and str(request.user.pk) != id:
            User.objects.filter(pk=id).exclude(password=before).update(must_change_password=True)
        return response

    @admin.action(permissions=["change"], description=_("Deactivate the selected %(verbose_name_plural)s"))
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Make people inactive, except oneself and those above oneself."""
        allowed = queryset.exclude(pk=request.user.pk)
        super().deactivate(request, allowed if _is_superuser(request) else allowed.filter(is_superuser=False))

    @admin.action(permissions=["change"], description=_("Activate the selected %(verbose_name_plural)s"))
    def activate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Make people active, except those above oneself."""
        super().activate(request, queryset if _is_superuser(request) else queryset.filter(is_superuser=False))

    @admin.display(description=_("see also"))
    def links(self, user: User) -> SafeString | str:
        """Return links to the keys, the quotas and the calls of the person."""
        return _links(
            user,
            (ApiKey, gettext("keys"), "user__id__exact"),
            (Quota, gettext("quotas"), "user__id__exact"),
            (CallRecord, gettext("calls"), "user__id__exact"),
        )


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


class ApiKeyForm(_ApiKeyModelForm):
    """A key, without its secret."""

    lifetime = forms.ChoiceField(
        label=capfirst(_("valid for")),
        initial="30",
        choices=[
            ("7", _("7 days")),
            ("30", _("30 days")),
            ("180", _("180 days")),
            ("365", _("365 days")),
            ("never", _("no end")),
            ("date", _("until the time below")),
        ],
    )

    def clean_allowed_models(self) -> list[str]:
        """Return the list of patterns. Raises `ValidationError` for another value."""
        patterns = self.cleaned_data["allowed_models"]
        if not all(isinstance(pattern, str) and pattern for pattern in patterns):
            raise ValidationError(
                _("Enter a JSON list of names or patterns, e.g. %(example)s."), params={"example": '["main/*"]'}
            )
        return list(patterns)

    def clean(self) -> dict[str, Any] | None:
        """Turn the chosen lifetime of a new key into its end."""
        cleaned = super().clean()
        lifetime = self.cleaned_data.get("lifetime")
        if lifetime is None:
            return cleaned
        if lifetime == "date":
            if not self.cleaned_data.get("expires_at") and "expires_at" not in self.errors:
                self.add_error("expires_at", _("Enter the time when the key ends."))
        elif self.cleaned_data.get("expires_at"):
            self.add_error("lifetime", _("Choose “until the time below”, or leave that time empty."))
        else:
            self.cleaned_data["expires_at"] = (
                None if lifetime == "never" else timezone.now() + timedelta(days=int(lifetime))
            )
        return cleaned


def _key_state(key: ApiKey) -> str:
    if key.revoked_at is not None or not key.is_active:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= timezone.now():
        return "expired"
    return "active"


_KEY_STATES = {"active": _("active"), "expired": _("expired"), "revoked": _("revoked")}


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


@admin.register(ApiKey)
class ApiKeyAdmin(PermanentAdmin):
    """Keys. The secret is on the page that answers the creation, and nowhere else ever after."""

    form = ApiKeyForm
    list_display = (
        "name",
        "user",
        "prefix",
        "state",
        "policy",
        column(ApiKey, "expires_at"),
        column(ApiKey, "created_at"),
    )
    list_filter = (KeyStateFilter, "expires_at", "policy", "user__team")
    list_select_related = ("user", "policy")
    search_fields = ("name", "prefix", "user__username", "user__email", "note")
    ordering = ("user__username", "name")
    autocomplete_fields = ("user", "policy")
    actions = ["activate", "revoke"]
    readonly_fields = ("prefix", "state", "links", "revoked_at", "created_at")
    fieldsets = (
        (None, {"fields": ("user", "name", "note")}),
        (_("State"), {"fields": ("prefix", "state", "expires_at", "revoked_at", "created_at", "links")}),
        (_("What the key may do"), {"fields": ("policy", "allowed_models", "max_concurrency", "capture")}),
    )
    add_fieldsets = (
        (None, {"fields": ("user", "name", "note")}),
        (_("End"), {"fields": ("lifetime", "expires_at")}),
        (_("What the key may do"), {"fields": ("policy", "allowed_models", "max_concurrency", "capture")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields; of a new key there is nothing to see yet."""
        return self.add_fieldsets if obj is None else self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return also the owner of an existing key: its history is that person's."""
        return self.readonly_fields if obj is None else ("user", *self.readonly_fields)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form; the choice of a lifetime is for new keys."""
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is not None:
            form.base_fields.pop("lifetime", None)
        return form

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Save the row; a new one with a fresh secret, handed to `response_add` on the row."""
        if not change:
            secret = keys.new_secret()
            keys.assign(obj, secret)
            vars(obj)["issued_secret"] = secret
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret in the answer itself: no message, session or cookie holds it, no reload brings it back."""
        secret = vars(obj).pop("issued_secret")
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("The new key"),
            "opts": self.opts,
            "key": obj,
            "secret": secret,
            "base_url": (settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")) + "/api/v1/claude-code",
            "key_url": reverse("admin:accounts_apikey_change", args=(obj.pk,)),
        }
        return TemplateResponse(request, "admin/accounts/apikey/issued.html", context)

    @admin.display(description=_("state"))
    def state(self, key: ApiKey) -> str:
        """Return whether the key works."""
        return str(_KEY_STATES[_key_state(key)])

    @admin.display(description=_("see also"))
    def links(self, key: ApiKey) -> SafeString | str:
        """Return links to the quotas and the calls of the key."""
        return _links(
            key,
            (Quota, gettext("quotas"), "key__id__exact"),
            (CallRecord, gettext("calls"), "key__id__exact"),
        )

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

    @admin.action(permissions=["change"], description=_("Activate the selected %(verbose_name_plural)s"))
    def activate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Take the revocation of the keys back."""
        count = self.update_rows(request, queryset, "Activated.", is_active=True, revoked_at=None)
        self.message_user(
            request, ngettext("%(count)d key activated.", "%(count)d keys activated.", count) % {"count": count}
        )
