"""Who gives which roles, and who leads: the forms of people, teams and groups."""

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.test import TestCase
from django.urls import reverse

from accounts.models import ApiKey, Team, User
from accounts.roles import Role, roles_of
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.admin.rows import make_key


def group(role: str) -> Group:
    """Return the group of `role`."""
    return Group.objects.get(name=role)


def person(username: str, *roles: str, **fields: Any) -> User:
    """Make a person with `roles`."""
    user = User.objects.create_user(username, **fields)
    user.groups.add(*(group(role) for role in roles))
    return user


class Filter(AdminTestCase):
    def test_people_are_found_by_role_under_its_name(self) -> None:
        lead = User.objects.create(username="leader")
        lead.groups.add(Group.objects.get(name="team_lead"))
        page = self.client.get(list_url(User))
        self.assertContains(page, "Team lead</a>")
        self.assertNotContains(page, "team_lead")
        found = self.client.get(list_url(User), {"groups": Group.objects.get(name="team_lead").pk})
        self.assertEqual([user.username for user in found.context["cl"].result_list], ["leader"])


class RoleForm(TestCase):
    """The page of a person, for an administrator who is no superuser."""

    def setUp(self) -> None:
        self.administrator = person("administrator", Role.ADMINISTRATOR)
        self.dev = person("dev")
        self.client.force_login(self.administrator)

    def save(self, user: User, *groups: Group, **values: Any) -> Any:
        data = {"username": user.username, "is_active": "on", "groups": [each.pk for each in groups], **values}
        response = self.client.post(row_url(user), data)
        user.refresh_from_db()
        return response

    def roles(self, user: User) -> set[str]:
        return roles_of(User.objects.get(pk=user.pk))

    def test_each_role_says_what_it_may_do(self) -> None:
        page = self.client.get(row_url(self.dev))
        self.assertContains(
            page, "<strong>Team lead</strong> sees the people, keys, quotas and usage of the teams that"
        )
        self.assertContains(page, "Who leads a team is chosen on the page of the team.")
        self.assertContains(page, 'type="checkbox" name="groups"', count=4)
        self.assertNotContains(page, "is_superuser")
        self.assertNotContains(page, "user_permissions")

    def test_the_page_says_which_teams_somebody_leads(self) -> None:
        Team.objects.create(name="platform", lead=self.dev)
        self.assertContains(self.client.get(row_url(self.dev)), '<div class="readonly">platform</div>')

    def test_a_role_leads_into_the_admin_and_its_end_out_of_it(self) -> None:
        self.save(self.dev, group(Role.FINANCE))
        self.assertEqual((self.roles(self.dev), self.dev.is_staff), ({"finance"}, True))
        self.save(self.dev, group(Role.MEMBER))
        self.assertEqual((self.roles(self.dev), self.dev.is_staff), ({"member"}, False))

    def test_an_administrator_makes_administrators_but_no_superusers(self) -> None:
        values = {"is_superuser": "on", "is_staff": "on", "user_permissions": [Permission.objects.all()[0].pk]}
        self.save(self.dev, group(Role.ADMINISTRATOR), **values)
        self.assertEqual((self.dev.is_staff, self.dev.is_superuser), (True, False))
        self.assertFalse(self.dev.user_permissions.exists())
        self.save(self.dev, **values)
        self.assertFalse(self.dev.is_staff, "staff follows from the roles, whatever is posted")

    def test_a_superuser_is_out_of_an_administrators_reach(self) -> None:
        root = User.objects.create_superuser("root", password="long-enough-1")
        key = make_key(root, "manage", scope=ApiKey.Scope.ADMIN)
        self.assertEqual(self.save(root).status_code, 403)
        self.assertEqual(self.client.get(reverse("admin:auth_user_password_change", args=(root.pk,))).status_code, 403)
        self.client.post(list_url(User), {"action": "deactivate", "_selected_action": [root.pk]})
        rotate = reverse("admin:accounts_apikey_rotate", args=(key.pk,))
        self.assertEqual(self.client.post(rotate, {"grace": "0", "instead_of": key.prefix}).status_code, 403)
        root.refresh_from_db()
        self.assertTrue(root.is_active)

    def test_a_group_that_may_more_is_neither_given_nor_taken(self) -> None:
        above, beside = Group.objects.create(name="above"), Group.objects.create(name="beside")
        above.permissions.add(Permission.objects.get(codename="delete_session"))
        beside.permissions.add(Permission.objects.get(codename="view_auditentry"))
        response = self.save(self.dev, above)
        self.assertContains(response, "Select a valid choice")
        self.dev.groups.add(above)
        self.assertEqual(self.save(self.dev, beside).status_code, 403, "who is in it may more than the reader")
        self.dev.groups.set([beside])
        self.save(self.dev, group(Role.MEMBER))
        self.assertEqual(self.roles(self.dev), {"member"})
        self.assertFalse(self.dev.groups.filter(pk=beside.pk).exists())

    def test_nobody_changes_the_own_roles(self) -> None:
        self.save(self.administrator, group(Role.FINANCE), email="new@example.com", is_active="")
        self.assertEqual(self.administrator.email, "new@example.com")
        self.assertEqual((self.roles(self.administrator), self.administrator.is_active), ({"administrator"}, True))

    def test_who_only_changes_people_gives_no_role(self) -> None:
        helper = person("helper", is_staff=True)
        names = [
            "view_user",
            "change_user",
            "view_team",
            "change_team",
            "view_all_teams",
            "view_apikey",
            "change_apikey",
        ]
        helper.user_permissions.add(*Permission.objects.filter(codename__in=names))
        self.client.force_login(helper)
        self.save(self.dev, group(Role.FINANCE), email="new@example.com")
        self.assertEqual((self.dev.email, self.roles(self.dev)), ("new@example.com", set()))
        lead = person("lead", Role.TEAM_LEAD)
        self.assertEqual(self.save(lead, email="x@example.com").status_code, 403)
        team = Team.objects.create(name="platform")
        self.client.post(row_url(team), {"name": "renamed", "is_active": "on", "lead": helper.pk})
        team.refresh_from_db()
        self.assertEqual((team.name, team.lead), ("renamed", None))
        key = make_key(self.dev, "laptop")
        self.client.post(row_url(key), {"name": "desktop", "lifetime": "", "allowed_models": "[]", "scope": "admin"})
        key.refresh_from_db()
        self.assertEqual((key.name, key.scope), ("desktop", ""))

    def test_a_service_has_no_role_that_logs_in(self) -> None:
        team = Team.objects.create(name="ci")
        page = self.save(self.dev, group(Role.FINANCE), is_service="on", team=team.pk)
        self.assertContains(page, "A service cannot log in, so it has no role but that of a member.")
        self.assertEqual(self.roles(self.dev), set())

    def test_the_administrator_can_open_the_change_and_add_pages_of_everything_else(self) -> None:
        for url in (reverse("admin:accounts_user_add"), row_url(self.dev), row_url(group(Role.MEMBER))):
            self.assertEqual(self.client.get(url).status_code, 200)


class SuperuserForm(AdminTestCase):
    def test_a_staff_tick_does_not_outlast_or_undo_a_role(self) -> None:
        dev = person("dev")
        data = {"username": "dev", "is_active": "on", "groups": [group(Role.TEAM_LEAD).pk]}
        self.client.post(row_url(dev), data)
        dev.refresh_from_db()
        self.assertTrue(dev.is_staff)
        self.client.post(row_url(dev), {**data, "groups": [], "is_staff": "on"})
        dev.refresh_from_db()
        self.assertFalse(dev.is_staff)
        self.client.post(row_url(dev), {**data, "groups": [], "is_staff": "on"})
        dev.refresh_from_db()
        self.assertTrue(dev.is_staff, "somebody let in by hand")

    def test_the_own_page_shows_the_roles_only(self) -> None:
        self.assertNotContains(self.client.get(row_url(self.root)), 'name="groups"')


class Leading(AdminTestCase):
    def save(self, team: Team | None = None, **values: Any) -> Any:
        url = reverse("admin:accounts_team_add") if team is None else row_url(team)
        return self.client.post(url, {"name": "platform", "is_active": "on", **values}, follow=True)

    def test_who_is_chosen_to_lead_gets_the_role(self) -> None:
        dev = person("dev", Role.MEMBER)
        page = self.save(lead=dev.pk)
        self.assertContains(page, "The role “Team lead” was given to dev, who can log in here with it.")
        dev = User.objects.get(pk=dev.pk)
        self.assertEqual((roles_of(dev), dev.is_staff), ({"member", "team_lead"}, True))

    def test_who_administers_needs_no_role_for_it(self) -> None:
        boss = person("boss", Role.ADMINISTRATOR)
        self.assertNotContains(self.save(lead=boss.pk), "was given to")
        self.assertEqual(roles_of(User.objects.get(pk=boss.pk)), {"administrator"})

    def test_neither_a_service_nor_who_was_deactivated_leads(self) -> None:
        for number, fields in enumerate(({"is_service": True}, {"is_active": False})):
            user = person(f"user{number}", **fields)
            self.assertContains(self.save(lead=user.pk), "Choose an active person: a service cannot log in.")
        self.assertFalse(Team.objects.exists())

    def test_a_lead_who_was_deactivated_later_does_not_keep_the_team_from_being_saved(self) -> None:
        team = Team.objects.create(name="platform", lead=person("dev", is_active=False))
        self.save(team, lead=team.lead_id, cost_center="4711")
        team.refresh_from_db()
        self.assertEqual(team.cost_center, "4711")

    def test_no_team_is_above_itself(self) -> None:
        top = Team.objects.create(name="platform")
        below = Team.objects.create(name="below", parent=top)
        for parent in (top, below):
            self.assertContains(self.save(top, parent=parent.pk), "This is the team itself or one below it.")


class Groups(AdminTestCase):
    def test_roles_are_read_and_nothing_else(self) -> None:
        role = group(Role.TEAM_LEAD)
        page = self.client.get(row_url(role))
        self.assertContains(page, "The permissions of a role are fixed.")
        self.assertContains(page, "issues and revokes keys there")
        self.assertEqual(self.client.post(row_url(role), {"name": "x"}).status_code, 403)
        self.assertEqual(
            self.client.post(reverse("admin:auth_group_delete", args=(role.pk,)), {"post": "yes"}).status_code, 403
        )
        self.client.post(list_url(Group), {"action": "delete_selected", "_selected_action": [role.pk], "post": "yes"})
        self.assertEqual(group(Role.TEAM_LEAD), role)

    def test_an_administrator_gives_a_group_no_more_than_the_own_permissions(self) -> None:
        self.client.force_login(person("administrator", Role.ADMINISTRATOR))
        above, own = (Permission.objects.get(codename=name) for name in ("delete_session", "view_callrecord"))
        data = {"name": "auditors", "permissions": [above.pk]}
        self.assertContains(self.client.post(reverse("admin:auth_group_add"), data), "Select a valid choice")
        self.client.post(reverse("admin:auth_group_add"), {**data, "permissions": [own.pk]})
        made = group("auditors")
        self.assertEqual(list(made.permissions.all()), [own])
        made.permissions.add(above)
        self.assertEqual(self.client.post(row_url(made), {"name": "x", "permissions": [own.pk]}).status_code, 403)
