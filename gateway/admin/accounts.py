"""People and teams."""

from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, CallRecord, Quota, Team, User
from gateway.admin.key_bulk import issue_page, issue_view, posted, selected_users
from gateway.admin_base import ModelAdmin, PermanentAdmin, TimeZoneField, column, see_also

if TYPE_CHECKING:
    _DjangoUserAdmin = DjangoUserAdmin[User]
    _AdminUserCreationForm = AdminUserCreationForm[User]
else:
    _DjangoUserAdmin = DjangoUserAdmin
    _AdminUserCreationForm = AdminUserCreationForm

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
        return see_also(
            team,
            (User, gettext("people"), "team__id__exact"),
            (Quota, gettext("quotas"), "team__id__exact"),
            (CallRecord, gettext("calls"), "team__id__exact"),
        )


class NewUserForm(_AdminUserCreationForm):
    """A new person, or a service, which needs no password."""

    def clean(self) -> dict[str, Any] | None:
        """Leave the passwords of a service out."""
        if self.cleaned_data.get("is_service"):
            self.cleaned_data["usable_password"] = "false"
        return super().clean()


@admin.register(User)
class UserAdmin(_DjangoUserAdmin, PermanentAdmin):
    """People."""

    add_form = NewUserForm
    list_display = (
        "username",
        "email",
        "team",
        column(User, "is_service"),
        "policy",
        "is_active",
        "is_staff",
        column(User, "last_login"),
        column(User, "must_change_password"),
    )
    list_filter = ("is_active", "is_service", "is_staff", "is_superuser", "must_change_password", "team", "groups")
    list_select_related = ("team", "policy")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    autocomplete_fields = ("team", "policy")
    readonly_fields = ("links", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "must_change_password")}),
        (
            _("Person"),
            {"fields": ("first_name", "last_name", "email", "team", "is_service", "policy", "language", "time_zone")},
        ),
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
                    "is_service",
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

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Save the person; one who becomes a service loses the password, and with it the sessions."""
        if obj.is_service:
            obj.must_change_password = False
            if obj.has_usable_password():
                obj.set_unusable_password()
        super().save_model(request, obj, form, change)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Set somebody's password; unless it is one's own, it is a temporary one. A service gets none."""
        if User.objects.filter(pk=unquote(id), is_service=True).exists():
            raise PermissionDenied
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

    actions = ["activate", "deactivate", "issue_keys"]

    def get_urls(self) -> list[Any]:
        """Add the page that issues keys to many people."""
        view = self.admin_site.admin_view(partial(posted(issue_view), self))
        return [path("issue-keys/", view, name="accounts_user_issue_keys"), *super().get_urls()]

    def has_issue_keys_permission(self, request: HttpRequest) -> bool:
        """Return whether the reader may make keys."""
        return request.user.has_perm("accounts.add_apikey")

    @admin.action(permissions=["issue_keys"], description=_("Issue keys for the selected %(verbose_name_plural)s"))
    def issue_keys(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Ask what the new keys are to be like."""
        return issue_page(self, request, selected_users(queryset))

    @admin.display(description=_("see also"))
    def links(self, user: User) -> SafeString | str:
        """Return links to the keys, the quotas and the calls of the person."""
        return see_also(
            user,
            (ApiKey, gettext("keys"), "user__id__exact"),
            (Quota, gettext("quotas"), "user__id__exact"),
            (CallRecord, gettext("calls"), "user__id__exact"),
        )


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))
