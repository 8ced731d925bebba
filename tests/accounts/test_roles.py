"""Roles: their permissions, who is let into the admin, and whose rows they see."""

from django.apps import apps
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.db.models import Model
from django.test import TestCase

from accounts.models import ApiKey, CallRecord, Quota, QuotaRaise, QuotaWindow, Team, UsageDaily, User
from accounts.roles import (
    PERMISSIONS,
    VIEW_ALL_TEAMS,
    Role,
    in_charge_of,
    led_teams,
    permissions_of,
    roles_of,
    sees_everything,
    sync_permissions,
    visible,
)
from gateway.models import Capture
from providers.models import Provider
from tests.admin.rows import make_rows


def group(role: str) -> Group:
    """Return the group of `role`, as the migration made it."""
    return Group.objects.get(name=role)


def names(found: Group) -> set[str]:
    """Return the permissions of a group, as "app.codename"."""
    rows = found.permissions.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in rows}


class Permissions(TestCase):
    def test_each_group_has_exactly_the_permissions_of_its_role(self) -> None:
        for role in Role:
            with self.subTest(role=role):
                self.assertEqual(names(group(role)), permissions_of(role))

    def test_a_permission_that_was_added_or_taken_is_set_right(self) -> None:
        lead = group(Role.TEAM_LEAD)
        lead.permissions.add(Permission.objects.get(codename="change_team"))
        lead.permissions.remove(Permission.objects.get(codename="view_apikey"))
        sync_permissions()
        self.assertEqual(names(lead), permissions_of(Role.TEAM_LEAD))

    def test_a_group_that_is_missing_is_made_again(self) -> None:
        Group.objects.all().delete()
        sync_permissions()
        self.assertEqual(set(Group.objects.values_list("name", flat=True)), set(Role.values))
        self.assertEqual(names(group(Role.FINANCE)), permissions_of(Role.FINANCE))

    def test_setting_them_twice_writes_nothing(self) -> None:
        with self.assertNumQueries(5):
            sync_permissions()

    def test_other_groups_are_left_alone(self) -> None:
        auditors = Group.objects.create(name="auditors")
        auditors.permissions.add(Permission.objects.get(codename="view_auditentry"))
        sync_permissions()
        self.assertEqual(names(auditors), {"accounts.view_auditentry"})

    def test_an_administrator_may_do_everything_with_every_table_of_ours(self) -> None:
        has = permissions_of(Role.ADMINISTRATOR)
        for label in ("providers", "routing", "accounts", "gateway"):
            for model in apps.get_app_config(label).get_models():
                self.assertIn(f"{label}.change_{model._meta.model_name}", has)

    def test_finance_changes_nothing_but_uploads_invoices(self) -> None:
        writing = {name for name in permissions_of(Role.FINANCE) if ".view_" not in name}
        self.assertEqual(writing, {"accounts.add_invoice"})

    def test_neither_finance_nor_a_lead_sees_prompts_secrets_or_the_audit_log(self) -> None:
        for role in (Role.FINANCE, Role.TEAM_LEAD, Role.MEMBER):
            for model in ("gateway.capture", "providers.credential", "providers.provider", "accounts.auditentry"):
                self.assertNotIn(model, PERMISSIONS[role])


class Staff(TestCase):
    def setUp(self) -> None:
        self.user = User.objects.create_user("dev")

    def is_staff(self) -> bool:
        return User.objects.values_list("is_staff", flat=True).get(pk=self.user.pk)

    def test_the_first_role_opens_the_admin_and_the_last_one_closes_it(self) -> None:
        self.user.groups.add(group(Role.FINANCE), group(Role.TEAM_LEAD))
        self.assertTrue(self.is_staff())
        self.assertTrue(self.user.is_staff, "also on the object, which its form may save again")
        self.user.groups.remove(group(Role.FINANCE))
        self.assertTrue(self.is_staff())
        self.user.groups.set([])
        self.assertFalse(self.is_staff())

    def test_a_member_is_not_let_in(self) -> None:
        self.user.groups.add(group(Role.MEMBER))
        self.assertFalse(self.is_staff())

    def test_it_is_the_same_from_the_side_of_the_group(self) -> None:
        finance = group(Role.FINANCE)
        finance.user_set.add(self.user)
        self.assertTrue(self.is_staff())
        finance.user_set.remove(self.user)
        self.assertFalse(self.is_staff())
        finance.user_set.add(self.user)
        finance.user_set.clear()
        self.assertFalse(self.is_staff())

    def test_clearing_the_groups_of_a_person_closes_it(self) -> None:
        self.user.groups.add(group(Role.ADMINISTRATOR))
        self.user.groups.clear()
        self.assertFalse(self.is_staff())

    def test_a_superuser_stays_and_so_does_who_was_let_in_otherwise(self) -> None:
        root = User.objects.create_superuser("root")
        root.groups.add(group(Role.FINANCE))
        root.groups.clear()
        self.assertTrue(User.objects.get(pk=root.pk).is_staff)
        auditors = Group.objects.create(name="auditors")
        User.objects.filter(pk=self.user.pk).update(is_staff=True)
        self.user.groups.add(auditors)
        self.user.groups.remove(auditors)
        self.assertTrue(self.is_staff())

    def test_a_service_is_never_let_in(self) -> None:
        User.objects.filter(pk=self.user.pk).update(is_service=True)
        self.user.groups.add(group(Role.FINANCE))
        self.assertFalse(self.is_staff())


class Rows(TestCase):
    """Two teams side by side, one below the first, and a row of every table for each."""

    def setUp(self) -> None:
        make_rows(3)
        self.mine, self.below, self.other = Team.objects.order_by("pk")
        Team.objects.filter(pk=self.below.pk).update(parent=self.mine)
        self.lead = User.objects.create_user("lead", team=self.other)
        Team.objects.filter(pk=self.mine.pk).update(lead=self.lead)
        self.lead.groups.add(group(Role.TEAM_LEAD))

    def seen(self, model: type[Model], user: User) -> int:
        return visible(model._default_manager.all(), user).count()

    def test_a_lead_sees_the_led_teams_and_those_below(self) -> None:
        self.assertEqual(led_teams(self.lead), {self.mine.pk, self.below.pk})
        for model, count in (
            (Team, 2),
            (User, 3),  # with the lead
            (ApiKey, 2),
            (CallRecord, 2),
            (UsageDaily, 2),
            (Quota, 6),  # of the teams, their people and their keys
            (QuotaWindow, 6),
            (QuotaRaise, 6),
            (Capture, 2),
        ):
            with self.subTest(model=model.__name__):
                self.assertEqual(self.seen(model, self.lead), count)

    def test_a_lead_is_not_in_charge_of_what_is_only_the_own(self) -> None:
        self.assertIn(self.lead, visible(User.objects.all(), self.lead))
        self.assertNotIn(self.lead, in_charge_of(User.objects.all(), self.lead))

    def test_leading_without_the_role_shows_nothing_but_the_own(self) -> None:
        self.lead.groups.clear()
        self.assertEqual(led_teams(self.lead), set())
        self.assertEqual(list(visible(User.objects.all(), self.lead)), [self.lead])

    def test_the_role_without_a_team_shows_nothing_but_the_own(self) -> None:
        Team.objects.update(lead=None)
        self.assertEqual(self.seen(Team, self.lead), 0)
        self.assertEqual(self.seen(CallRecord, self.lead), 0)

    def test_a_circle_of_parents_ends(self) -> None:
        Team.objects.filter(pk=self.mine.pk).update(parent=self.below)
        self.assertEqual(led_teams(self.lead), {self.mine.pk, self.below.pk})

    def test_administrators_and_finance_see_all_rows(self) -> None:
        for role in (Role.ADMINISTRATOR, Role.FINANCE):
            user = User.objects.create_user(role.value)
            user.groups.add(group(role))
            self.assertTrue(sees_everything(user))
            self.assertEqual(self.seen(CallRecord, user), 3)

    def test_an_own_group_sees_all_rows_with_the_permission_for_it(self) -> None:
        auditors = Group.objects.create(name="auditors")
        user = User.objects.create_user("auditor")
        user.groups.add(auditors)
        self.assertEqual(self.seen(CallRecord, user), 0)
        auditors.permissions.add(Permission.objects.get(codename=VIEW_ALL_TEAMS.split(".")[1]))
        self.assertEqual(self.seen(CallRecord, User.objects.get(pk=user.pk)), 3)

    def test_a_member_sees_the_own_rows_only(self) -> None:
        member = ApiKey.objects.get(user__team=self.other).user
        member.groups.add(group(Role.MEMBER))
        for model in (User, ApiKey, CallRecord, UsageDaily):
            self.assertEqual(self.seen(model, member), 1, model)
        self.assertEqual(self.seen(Quota, member), 2, "not that of the team")
        self.assertEqual(self.seen(Team, member), 0)

    def test_who_was_deactivated_and_who_has_not_logged_in_sees_nothing(self) -> None:
        self.lead.is_active = False
        self.assertEqual(self.seen(CallRecord, self.lead), 0)
        self.assertFalse(visible(User.objects.all(), AnonymousUser()).exists())
        self.assertEqual(visible(Provider.objects.all(), self.lead).count(), 0)

    def test_rows_of_nobody_are_a_matter_of_permissions(self) -> None:
        self.assertEqual(self.seen(Provider, self.lead), 3)

    def test_it_is_looked_up_once_per_user_object(self) -> None:
        lead = User.objects.get(pk=self.lead.pk)
        visible(CallRecord.objects.all(), lead)
        with self.assertNumQueries(0):
            visible(UsageDaily.objects.all(), lead)
        root = User.objects.create_superuser("root")
        with self.assertNumQueries(0):
            visible(CallRecord.objects.all(), root)

    def test_a_new_role_counts_at_once(self) -> None:
        user = User.objects.create_user("new")
        self.assertEqual(roles_of(user), set())
        user.groups.add(group(Role.FINANCE))
        self.assertEqual(roles_of(user), {"finance"})
        self.assertTrue(sees_everything(user))
