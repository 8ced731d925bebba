"""People and teams."""

from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
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

from accounts import audit
from accounts.models import ApiKey, CallRecord, Quota, Team, User
from accounts.roles import Role, let_in, roles_of
from gateway.admin.keys.bulk import issue_page, issue_view, posted, selected_users
from gateway.admin.people.import_page import import_view, keys_view, template_view
from gateway.admin.people.role_forms import (
    NewUserForm,
    RolesField,
    TeamForm,
    UserForm,
    beneath,
    by_rank,
    explained_role,
    explained_roles,
    groups_to_give,
    is_superuser,
    may_give_roles,
    permissions_to_give,
    role_label,
)
from gateway.admin_base import ModelAdmin, PermanentAdmin, TimeZoneField, column, see_also
from gateway.admin_scope import is_restricted

if TYPE_CHECKING:
    _DjangoUserAdmin = DjangoUserAdmin[User]
else:
    _DjangoUserAdmin = DjangoUserAdmin

admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups of permissions: the roles, and those of the house's own."""

    list_display = ("name", "label")
    list_filter = ()
    readonly_fields = ("label",)

    @admin.display(description=_("what it may do"))
    def label(self, group: Group) -> SafeString | str:
        """Return what a role may do; of another group its permissions say it."""
        return explained_role(group) if group.name in Role.values else "-"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the permissions of a group of the house's own; those of a role stand in words."""
        if obj is not None and obj.name in Role.values:
            return [(None, {"fields": ("name", "label"), "description": _("The permissions of a role are fixed.")})]
        text = _(
            "Who is in such a group and in no role sees the own rows only, unless the group has the permission “Can"
            " view the rows of all teams”; and logs in here only as a staff member."
        )
        return [(None, {"fields": ("name", "permissions"), "description": text})]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False for a role, and for a group that may more than the reader."""
        return super().has_change_permission(request, obj) and self._is_own(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False for a role, and for a group that may more than the reader."""
        return super().has_delete_permission(request, obj) and self._is_own(request, obj)

    def _is_own(self, request: HttpRequest, group: Group | None) -> bool:
        if group is None or group.pk is None or group.name in Role.values:
            return group is None or group.name not in Role.values
        return groups_to_give(request).filter(pk=group.pk).exists()

    def formfield_for_manytomany(
        self, db_field: "models.ManyToManyField[Any, Any]", request: HttpRequest | None = None, **kwargs: Any
    ) -> Any:
        if db_field.name == "permissions" and request is not None:
            kwargs["queryset"] = permissions_to_give(request)
        return super().formfield_for_manytomany(db_field, request, **kwargs)


class RoleFilter(admin.SimpleListFilter):
    """People by role or group, called as elsewhere."""

    title = _("roles and groups")
    parameter_name = "groups"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the groups, the roles first; to a lead those that people of the led teams are in."""
        groups = Group.objects.all()
        if is_restricted(request):
            shown = model_admin.get_queryset(request).order_by().values("groups")
            groups = groups.filter(pk__in=shown)
        return [(str(group.pk), role_label(group)) for group in by_rank(groups)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        """Return the people in the chosen group."""
        chosen = self.value()
        return queryset.filter(groups=int(chosen)) if chosen and chosen.isdecimal() else queryset


@admin.register(Team)
class TeamAdmin(PermanentAdmin):
    """Teams."""

    form = TeamForm
    list_display = ("name", "cost_center", "parent", "lead", "policy", "is_active")
    list_filter = ("is_active", "policy", "parent")
    list_select_related = ("parent", "lead", "policy")
    search_fields = ("name", "cost_center", "lead__username")
    ordering = ("name",)
    autocomplete_fields = ("parent", "lead", "policy")
    fields = ("name", "cost_center", "parent", "lead", "policy", "is_active", "links", "created_at")
    readonly_fields = ("links", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return also the lead where the reader does not decide who has which role."""
        return self.readonly_fields if may_give_roles(request) else ("lead", *self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: Team, form: Any, change: bool) -> None:
        """Save the team, and give who leads it the role that leading needs."""
        super().save_model(request, obj, form, change)
        lead = obj.lead if "lead" in form.changed_data else None
        if lead is not None and not roles_of(lead) & {Role.TEAM_LEAD, Role.ADMINISTRATOR}:
            lead.groups.add(Group.objects.get(name=Role.TEAM_LEAD))
            text = gettext("The role “Team lead” was given to %(user)s, who can log in here with it.")
            self.message_user(request, text % {"user": lead})

    @admin.display(description=_("see also"))
    def links(self, team: Team) -> SafeString | str:
        """Return links to the people, the quotas and the calls of the team."""
        return see_also(
            team,
            (User, gettext("people"), "team__id__exact"),
            (Quota, gettext("quotas"), "team__id__exact"),
            (CallRecord, gettext("calls"), "team__id__exact"),
        )


@admin.register(User)
class UserAdmin(_DjangoUserAdmin, PermanentAdmin):
    """People."""

    form = UserForm
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
    list_filter = ("is_active", "is_service", "is_staff", "is_superuser", "must_change_password", "team", RoleFilter)
    list_select_related = ("team", "policy")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    autocomplete_fields = ("team", "policy")
    filter_horizontal = ("user_permissions",)
    readonly_fields = ("links", "roles_text", "leads", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "must_change_password")}),
        (
            _("Person"),
            {"fields": ("first_name", "last_name", "email", "team", "is_service", "policy", "language", "time_zone")},
        ),
        (_("Usage"), {"fields": ("links",)}),
        (_("Roles"), {"fields": ("is_active", "groups", "leads")}),
        (
            _("Beside the roles"),
            {
                "fields": ("is_superuser", "is_staff", "user_permissions"),
                "description": _(
                    "Roles that lead to this administration make their people staff members. Tick it only for people"
                    " who come here by other groups or permissions."
                ),
                "classes": ("collapse",),
            },
        ),
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
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "groups" and field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            # A new group is nothing to make in passing.
            field.widget = field.widget.widget
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the defaults of a new person: the password that an administrator thought up is temporary."""
        return {"must_change_password": True, **super().get_changeform_initial_data(request)}

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields; roles are to be ticked by who gives them, what is beside them by superusers."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or (is_superuser(request) and obj.pk != request.user.pk):
            return fieldsets
        shown = {"groups": "groups" if may_give_roles(request) and obj.pk != request.user.pk else "roles_text"}
        if not self.has_change_permission(request, obj):
            shown |= {"password": "", "must_change_password": ""}
        parts = []
        for title, options in fieldsets:
            fields = options["fields"]
            if "is_superuser" not in fields or is_superuser(request):
                kept = tuple(name for field in fields if (name := shown.get(str(field), field)))
                parts.append((title, {**options, "fields": kept}))
        return parts

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return also what could lock oneself out, or make oneself more than one is."""
        fields = list(self.readonly_fields)
        if not is_superuser(request):
            fields += ["is_superuser", "is_staff", "user_permissions"]
        if not may_give_roles(request):
            fields.append("groups")
        if obj is not None and obj.pk == request.user.pk:
            fields += ["is_active", "is_staff", "is_superuser", "groups", "must_change_password"]
        return tuple(dict.fromkeys(fields))

    def formfield_for_manytomany(
        self, db_field: "models.ManyToManyField[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "groups":
            return RolesField(queryset=groups_to_give(request), required=False, label=capfirst(_("roles and groups")))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False also for the row of somebody who may more than the caller: its password would be a way up."""
        if not super().has_change_permission(request, obj):
            return False
        if obj is None or obj.pk in (None, request.user.pk) or is_superuser(request):
            return True
        return beneath(request, User.objects.filter(pk=obj.pk)).exists()

    def changeable(self, request: HttpRequest, rows: QuerySet[Any] | None = None) -> QuerySet[Any]:
        """Return those of `rows` who may no more than the reader."""
        return beneath(request, super().changeable(request, rows))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the roles. Groups that were not the reader's to give stay; a role always leads into the admin."""
        user: User = form.instance
        kept = [] if "groups" not in form.fields else list(user.groups.exclude(pk__in=groups_to_give(request)))
        super().save_related(request, form, formsets, change)
        if kept:
            user.groups.add(*kept)
        let_in({user.pk})

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
            audit.update(User.objects.filter(pk=id).exclude(password=before), must_change_password=True)
        return response

    @admin.action(permissions=["change"], description=_("Deactivate the selected %(verbose_name_plural)s"))
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Make people inactive, except oneself."""
        super().deactivate(request, queryset.exclude(pk=request.user.pk))

    actions = ["activate", "deactivate", "issue_keys"]

    def get_urls(self) -> list[Any]:
        """Add the pages that issue keys to many people, and that import people."""
        own = [
            path(route, self.admin_site.admin_view(partial(view, self)), name=f"accounts_user_{name}")
            for route, view, name in (
                ("issue-keys/", posted(issue_view), "issue_keys"),
                ("import/", import_view, "import"),
                ("import/keys/", posted(keys_view), "import_keys"),
                ("import/template.<str:kind>", template_view, "import_template"),
            )
        ]
        return [*own, *super().get_urls()]

    def has_issue_keys_permission(self, request: HttpRequest) -> bool:
        """Return whether the reader may make keys."""
        return request.user.has_perm("accounts.add_apikey")

    @admin.display(description=_("roles and groups"))
    def roles_text(self, user: User) -> SafeString | str:
        """Return the roles with what they may do."""
        return explained_roles(list(user.groups.order_by("name")))

    @admin.display(description=_("leads"))
    def leads(self, user: User) -> str:
        """Return the teams whose lead the person is."""
        return ", ".join(team.name for team in user.led_teams.all()) or "-"

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
