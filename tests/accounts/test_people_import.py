"""People by a list: what it would do is told row by row, and done for all rows or for none."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from accounts import people_import
from accounts.models import AuditEntry, Team, User
from accounts.people_files import read
from accounts.people_import import Plan, carry_out


class ImportCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.root = User.objects.create_superuser("root")
        cls.core = Team.objects.create(name="Core")

    def plan(self, text: str, giver: User | None = None, *, make_teams: bool = False) -> Plan:
        return people_import.plan(read(text.encode()), giver or self.root, make_teams=make_teams)

    def states(self, text: str, **options: Any) -> list[str]:
        return [row.state for row in self.plan(text, **options).rows]

    def faults(self, text: str, giver: User | None = None, **options: Any) -> dict[int, list[tuple[str, str]]]:
        rows = self.plan(text, giver, **options).rows
        return {row.number: row.faults for row in rows if row.faults}

    def fault(self, text: str, giver: User | None = None) -> tuple[str, str]:
        [[fault]] = self.faults(text, giver).values()
        return fault


class Making(ImportCase):
    def test_people_are_made_with_all_that_the_list_says(self) -> None:
        text = (
            "用户名,姓名,邮箱,团队,角色,语言,时区,启用,备注\n"
            "lilei,李雷,lilei@Example.COM,core,成员、财务,中文,Asia/Shanghai,是,x\n"
            "ada,Ada Lovelace,,,,,,否,\n"
        )
        plan = self.plan(text)
        self.assertEqual([row.state for row in plan.rows], ["new", "new"])
        self.assertEqual(plan.unknown_columns, ["备注"])
        self.assertFalse(User.objects.filter(username="lilei").exists(), "a plan writes nothing")
        made = carry_out(plan)
        self.assertEqual([user.username for user in made], ["lilei", "ada"])
        lilei, ada = User.objects.get(username="lilei"), User.objects.get(username="ada")
        self.assertEqual(
            (lilei.get_full_name(), lilei.email, lilei.team, lilei.language, lilei.time_zone),
            ("李雷", "lilei@example.com", self.core, "zh-hans", "Asia/Shanghai"),
        )
        self.assertEqual({group.name for group in lilei.groups.all()}, {"member", "finance"})
        self.assertEqual((lilei.is_active, lilei.is_staff, lilei.is_superuser), (True, True, False))
        self.assertEqual((ada.is_active, ada.is_staff), (False, False))
        for user in (lilei, ada):
            self.assertFalse(user.has_usable_password())

    def test_each_person_has_one_entry_in_the_audit_log(self) -> None:
        User.objects.create(username="bob")
        seen = set(AuditEntry.objects.values_list("pk", flat=True))
        carry_out(self.plan("username,team,roles\nada,Core,finance\nbob,Core,member\n"))
        entries = AuditEntry.objects.filter(object_type="accounts.user").exclude(pk__in=seen)
        found = {entry.object_name: entry for entry in entries}
        self.assertEqual(len(entries), 2)
        self.assertEqual(found["ada"].action, "create")
        self.assertEqual(found["ada"].changes["groups"], [None, ["finance"]])
        self.assertEqual(found["ada"].changes["team"], [None, f"Core ({self.core.pk})"])
        self.assertEqual(found["bob"].action, "change")
        self.assertEqual(found["bob"].changes["groups"], [[], ["member"]])

    def test_the_same_list_again_changes_nothing(self) -> None:
        text = "username,name,email,team,roles\nlilei,李雷,a@b.example,Core,member\n"
        carry_out(self.plan(text))
        plan = self.plan(text)
        self.assertEqual([row.state for row in plan.rows], ["unchanged"])
        self.assertEqual(carry_out(plan), [])

    def test_changes_are_told_before_and_after_and_empty_cells_leave_things_alone(self) -> None:
        user = User.objects.create(username="ada", first_name="Ada", email="old@x.example", team=self.core)
        user.groups.add(Group.objects.get(name="member"), Group.objects.create(name="chess"))
        [row] = self.plan("username,email,team,roles,first name\nada,new@x.example,-,finance,\n").rows
        self.assertEqual(row.state, "changed")
        self.assertEqual(
            [(change.column, change.before, change.after) for change in row.changes],
            [("email", "old@x.example", "new@x.example"), ("team", "Core", ""), ("roles", "Member", "Finance")],
        )
        carry_out(self.plan("username,email,team,roles,first name\nada,new@x.example,-,finance,\n"))
        user.refresh_from_db()
        self.assertEqual((user.email, user.team, user.first_name, user.is_staff), ("new@x.example", None, "Ada", True))
        self.assertEqual({group.name for group in user.groups.all()}, {"finance", "chess"})

    def test_what_was_wrong_before_is_not_the_fault_of_the_list(self) -> None:
        User.objects.create(username="ada", email="no address")
        self.assertEqual(self.states("username,first name\nada,Ada\n"), ["changed"])

    def test_teams_are_made_when_that_is_wanted_and_once(self) -> None:
        text = "username,team\na,Lab\nb,lab\nc,core\n"
        self.assertEqual(
            self.faults(text), {2: [("team", "there is no team Lab")], 3: [("team", "there is no team lab")]}
        )
        plan = self.plan(text, make_teams=True)
        self.assertEqual(plan.new_teams, ["Lab"])
        carry_out(plan)
        self.assertEqual(
            dict(User.objects.exclude(username="root").values_list("username", "team__name")),
            {"a": "Lab", "b": "Lab", "c": "Core"},
        )

    def test_an_address_of_somebody_else_is_told_and_allowed(self) -> None:
        User.objects.create(username="old", email="Shared@x.example")
        plan = self.plan("username,email\na,shared@x.example\nb,b@x.example\nc,B@x.example\n")
        self.assertTrue(plan.is_clean)
        self.assertEqual(
            [row.notes for row in plan.rows],
            [[("email", "is the address of old too")], [], [("email", "is the address of b too")]],
        )


class Faults(ImportCase):
    def test_each_cell_that_cannot_be_says_why(self) -> None:
        User.objects.create(username="Grace")
        Team.objects.create(name="Gone", is_active=False)
        for row, column, message in (
            (",x@y.example,,,,,", "username", "is missing"),
            ("a b,,,,,,", "username", "Enter a valid username."),
            ("a" * 151 + ",,,,,,", "username", "Ensure this value has at most 150 characters"),
            ("a\x07,,,,,,", "username", "holds control characters"),
            ("grace,,,,,,", "username", "differs from the existing username Grace only in upper and lower case"),
            ("=a,,,,,,", "username", "is a formula"),
            ("a,nobody,,,,,", "email", "Enter a valid email address."),
            ("a," + "x" * 250 + "@y.example,,,,,", "email", "Ensure this value has at most 254 characters"),
            ("a,,Nowhere,,,,", "team", "there is no team Nowhere"),
            ("a,,gone,,,,", "team", "Gone is not active"),
            ("a,,,king,,,", "roles", "“king” is no role"),
            ("a,,,member;superuser,,,", "roles", "“superuser” is no role"),
            ("a,,,,klingon,,", "language", "“klingon” is no language"),
            ("a,,,,,Mars/Base,", "time_zone", "“Mars/Base” is no time zone"),
            ("a,,,,,,maybe", "is_active", "“maybe” is neither yes nor no"),
        ):
            with self.subTest(row=row[:40]):
                fault = self.fault("username,email,team,roles,language,time zone,active\n" + row + "\n")
                self.assertEqual(fault[0], column)
                self.assertIn(message, fault[1])

    def test_names_that_are_too_long(self) -> None:
        for head in ("name", "first name", "last name"):
            self.assertIn("150 characters", self.fault(f"username,{head}\na,{'x' * 151}\n")[1])
        self.assertIn("100 characters", self.faults(f"username,team\na,{'x' * 101}\n", make_teams=True)[2][0][1])

    def test_all_faults_of_all_rows_are_told_at_once(self) -> None:
        faults = self.faults("username,email,roles\na,x,king\n,,\nb,,\nB,y,\n")
        self.assertEqual(
            {number: {column for column, _text in found} for number, found in faults.items()},
            {2: {"email", "roles"}, 5: {"username"}},
        )

    def test_a_username_twice_names_the_first_row(self) -> None:
        self.assertEqual(self.fault("username\nada\nbob\nADA\n"), ("username", "is in row 2 already"))

    def test_heads_that_cannot_be_used(self) -> None:
        for head, message in (
            ("mail,team", "There is no column for the username."),
            ("username,用户名", "The column “用户名” is there twice."),
            ("username,name,first name", "Give names in one column"),
        ):
            with pytest.raises(ValidationError, match=message):
                self.plan(f"{head}\na,b,c\n")

    def test_nothing_is_written_with_a_fault_or_when_a_row_fails(self) -> None:
        with pytest.raises(ValueError, match="has faults"):
            carry_out(self.plan("username,email\ngood,\nbad,x\n"))
        plan = self.plan("username,team\na,Lab\nb,Lab\n", make_teams=True)
        User.objects.create(username="b")
        with pytest.raises(Exception, match=r"(?i)unique"):
            carry_out(plan)
        self.assertFalse(User.objects.filter(username__in=["a", "good"]).exists())
        self.assertFalse(Team.objects.filter(name="Lab").exists())

    def test_a_service_becomes_no_administrator(self) -> None:
        User.objects.create(username="ci", is_service=True, team=self.core)
        self.assertIn("A service is no administrator", self.fault("username,roles\nci,finance\n")[1])
        self.assertEqual(self.states("username,email\nci,ci@x.example\n"), ["changed"])


class Powers(ImportCase):
    def setUp(self) -> None:
        self.manager = User.objects.create(username="manager", is_staff=True)
        self.manager.groups.add(Group.objects.get(name="administrator"))
        if permission := Permission.objects.filter(codename="view_all_teams").first():
            self.manager.user_permissions.add(permission)
        self.manager = User.objects.get(pk=self.manager.pk)

    def test_only_a_superuser_makes_and_unmakes_administrators_and_nobody_superusers(self) -> None:
        carry_out(self.plan("username,roles\nboss,administrator\n"))
        boss = User.objects.get(username="boss")
        self.assertEqual((boss.is_staff, boss.is_superuser), (True, False))
        for text in ("other,administrator", "boss,member"):
            self.assertEqual(
                self.fault(f"username,roles\n{text}\n", self.manager),
                ("roles", "you may neither give nor take: Administrator"),
            )
        self.assertEqual(self.states("username,roles\nother,team lead\n", giver=self.manager), ["new"])

    def test_who_is_no_administrator_gives_no_roles(self) -> None:
        staff = User.objects.create(username="staff", team=self.core, is_staff=True)
        self.assertIn("neither give nor take", str(self.faults("username,roles\nx,member\n", staff)))

    def test_a_superuser_is_changed_by_superusers_only(self) -> None:
        self.assertIn("is a superuser", self.fault("username,email\nroot,x@y.example\n", self.manager)[1])
        self.assertEqual(self.states("username,email\nroot,x@y.example\n"), ["changed"])
        self.assertIn("a superuser is an administrator", self.fault("username,roles\nroot,member\n")[1])

    def test_nobody_locks_himself_out(self) -> None:
        self.assertIn("is yourself", self.fault("username,active\nmanager,no\n", self.manager)[1])
        self.assertIn("is yourself", self.fault("username,active\nroot,no\n")[1])

    def test_who_sees_some_teams_only_works_in_those(self) -> None:
        lead = User.objects.create(username="lead", team=self.core)
        lead.groups.add(Group.objects.get(name="team_lead"))
        self.core.lead = lead
        self.core.save()
        other = Team.objects.create(name="Other")
        User.objects.create(username="far", team=other)
        faults = self.faults("username,team\nfar,Core\nnew1,Core\nnew2,Other\nnew3,\n", lead)
        self.assertEqual(faults[2], [("username", "is somebody whom you may not change")])
        self.assertNotIn(3, faults)
        self.assertIn(("team", "there is no team Other"), faults[4])
        self.assertIn(("team", "must be one of your teams"), faults[5])
        self.assertIn("there is no team Other", str(self.faults("username,team\nx,Other\n", lead, make_teams=True)))


class Size(ImportCase):
    def test_a_thousand_people_cost_no_query_each_to_plan(self) -> None:
        few = "username,team,email\n" + "".join(f"u{number},Core,u{number}@x.example\n" for number in range(3))
        many = "username,team,email\n" + "".join(f"u{number},Core,u{number}@x.example\n" for number in range(900))
        counts = []
        for text in (few, many):
            with CaptureQueriesContext(connection) as context:
                self.plan(text)
            counts.append(len(context))
        self.assertEqual(counts[0], counts[1])

    def test_a_fingerprint_is_of_what_is_done(self) -> None:
        text = "username,email\nada,a@x.example\n"
        before = self.plan(text).fingerprint()
        self.assertEqual(before, self.plan(text).fingerprint())
        User.objects.create(username="ada")
        self.assertNotEqual(before, self.plan(text).fingerprint())
