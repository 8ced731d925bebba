"""Forms of people and teams: who has which role, and who leads."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Team, User
from accounts.roles import EXPLAINED, STAFF_ROLES, Role, roles_of

if TYPE_CHECKING:
    _AdminUserCreationForm = AdminUserCreationForm[User]
    _UserChangeForm = UserChangeForm[User]
    _TeamModelForm = forms.ModelForm[Team]
    _GroupsField = forms.ModelMultipleChoiceField[Group]
else:
    _AdminUserCreationForm = AdminUserCreationForm
    _UserChangeForm = UserChangeForm
    _TeamModelForm = forms.ModelForm
    _GroupsField = forms.ModelMultipleChoiceField


def is_superuser(request: HttpRequest) -> bool:
    """Return whether the reader is a superuser."""
    return bool(getattr(request.user, "is_superuser", False))


def may_give_roles(request: HttpRequest) -> bool:
    """Return whether the reader decides who has which role, and which keys administer: an administrator does."""
    return isinstance(request.user, User) and Role.ADMINISTRATOR in roles_of(request.user)


def permissions_to_give(request: HttpRequest) -> QuerySet[Permission]:
    """Return the permissions that the reader has, and so may give."""
    rows = Permission.objects.select_related("content_type")
    if is_superuser(request):
        return rows
    return rows.filter(Q(group__user=request.user.pk) | Q(user=request.user.pk)).distinct()


def by_rank(groups: QuerySet[Group]) -> QuerySet[Group]:
    """Return `groups` in the order of the roles, with the others after them by name."""
    rank = Case(
        *(When(name=role.value, then=Value(number)) for number, role in enumerate(Role)),
        default=Value(len(Role)),
        output_field=IntegerField(),
    )
    return groups.alias(rank=rank).order_by("rank", "name")


def groups_to_give(request: HttpRequest) -> QuerySet[Group]:
    """Return the groups, the roles first, whose permissions the reader has all."""
    groups = by_rank(Group.objects.all())
    if is_superuser(request):
        return groups
    beyond = Permission.objects.exclude(pk__in=permissions_to_give(request).values("pk"))
    return groups.exclude(permissions__in=beyond)


def beneath(request: HttpRequest, people: QuerySet[User]) -> QuerySet[User]:
    """Return those of `people` who may no more than the reader."""
    if is_superuser(request):
        return people
    beyond = Permission.objects.exclude(pk__in=permissions_to_give(request).values("pk"))
    above = User.objects.filter(
        Q(is_superuser=True) | Q(groups__permissions__in=beyond) | Q(user_permissions__in=beyond)
    )
    return people.exclude(pk__in=above.values("pk"))


def role_label(group: Group) -> str:
    """Return how a group is called for people."""
    return str(Role(group.name).label) if group.name in Role.values else group.name


def explained_roles(groups: list[Group]) -> SafeString | str:
    """Return the roles and groups, below each other, each with what it may do."""
    if not groups:
        return gettext("none")
    return format_html_join("", "<div>{}</div>", ((explained_role(group),) for group in groups))


def explained_role(group: Group) -> SafeString | str:
    """Return the name of a group, of a role also what it may do."""
    if group.name not in EXPLAINED:
        return group.name
    return format_html("<strong>{}</strong> {}", role_label(group), EXPLAINED[group.name])


class RolesField(_GroupsField):
    """Roles and other groups to tick, each with what it may do."""

    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, obj: Any) -> Any:
        """Return what stands beside the box."""
        return explained_role(obj)


class NewUserForm(_AdminUserCreationForm):
    """A new person, or a service, which needs no password."""

    def clean(self) -> dict[str, Any] | None:
        """Leave the passwords of a service out."""
        if self.cleaned_data.get("is_service"):
            self.cleaned_data["usable_password"] = "false"
        return super().clean()


class UserForm(_UserChangeForm):
    """A person or a service that is there."""

    def clean(self) -> dict[str, Any] | None:
        """Raise `ValidationError` for a service with a role that only a person can have."""
        cleaned = super().clean()
        groups = self.cleaned_data.get("groups") or ()
        if self.cleaned_data.get("is_service") and any(group.name in STAFF_ROLES for group in groups):
            self.add_error("groups", _("A service cannot log in, so it has no role but that of a member."))
        return cleaned


class TeamForm(_TeamModelForm):
    """A team, with who leads it and what is above it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "lead" in self.fields:
            self.fields["lead"].help_text = _(
                "Sees the people, keys and usage of this team and of those below it, and issues keys there. Gets the"
                " role “Team lead” with it, without which leading shows nothing."
            )

    def clean_lead(self) -> User | None:
        """Return who leads. Raises `ValidationError` for who cannot log in."""
        lead: User | None = self.cleaned_data["lead"]
        if lead is not None and "lead" in self.changed_data and (lead.is_service or not lead.is_active):
            raise ValidationError(_("Choose an active person: a service cannot log in."))
        return lead

    def clean_parent(self) -> Team | None:
        """Return the team above. Raises `ValidationError` for the team itself and for those below it."""
        parent: Team | None = self.cleaned_data["parent"]
        above, seen = parent, set()
        while above is not None and above.pk not in seen:
            if above.pk == self.instance.pk:
                raise ValidationError(_("This is the team itself or one below it."))
            seen.add(above.pk)
            above = above.parent
        return parent
