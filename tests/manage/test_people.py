"""People, teams and keys by the management API."""

from datetime import timedelta

from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, Quota, Team, User
from tests.manage.callers import ManageTestCase


class Users(ManageTestCase):
    def test_a_person_with_a_chinese_name_is_created_read_and_changed(self) -> None:
        made = self.answer(
            "POST",
            "users",
            {"username": "王芳", "email": "wang@example.com", "team": "平台组", "roles": ["member"]},
            status=201,
        )
        self.assertEqual((made["username"], made["team"], made["roles"]), ("王芳", "平台组", ["member"]))
        self.assertEqual(self.answer("GET", f"users/{made['id']}"), made)
        changed = self.answer("PATCH", f"users/{made['id']}", {"first_name": "芳"})
        self.assertEqual(changed, made | {"first_name": "芳"})
        changed = self.answer("PATCH", f"users/{made['id']}", {"team": None, "roles": []})
        self.assertEqual((changed["team"], changed["roles"], changed["first_name"]), (None, [], "芳"))

    def test_a_rename_keeps_the_person(self) -> None:
        self.answer("PATCH", f"users/{self.member.pk}", {"username": "zhang.wei", "last_name": "Zhang"})
        self.member.refresh_from_db()
        self.assertEqual((self.member.username, self.member.last_name), ("zhang.wei", "Zhang"))
        self.refused(self.ask("PATCH", f"users/{self.member.pk}", {"username": "root"}), 400, "username")

    def test_bad_fields_are_named_and_nothing_is_saved(self) -> None:
        count = User.objects.count()
        for body, field in (
            ({"username": ""}, "username"),
            ({"username": "root"}, "username"),
            ({"username": "x y!"}, "username"),
            ({"username": "x", "email": "no address"}, "email"),
            ({"username": "x", "team": "平台"}, "team"),
            ({"username": "x", "policy": "none"}, "policy"),
            ({"username": "x", "roles": ["king"]}, "roles[0]"),
            ({"username": "x", "roles": "member"}, "roles"),
            ({"username": "x", "time_zone": "Mars/Base"}, "time_zone"),
            ({"username": "x", "language": "xx"}, "language"),
            ({"username": "x", "active": "perhaps"}, "active"),
            ({"username": "x", "nickname": "y"}, "nickname"),
            ({"username": "x" * 600}, "username"),
            ({"username": "x" * 200}, "username"),
            ({"username": "x", "first_name": "a\x00b"}, "first_name"),
            ({"username": "x", "first_name": "\ud800"}, "first_name"),
            ({"username": "x", "password": "123"}, "password"),
            ({"username": "x", "service": True, "team": "平台组", "password": "correct horse"}, "password"),
            ({"email": "a@example.com"}, "username"),
        ):
            with self.subTest(body=body):
                self.refused(self.ask("POST", "users", body), 400, field)
        self.assertEqual(User.objects.count(), count)

    def test_a_deactivated_person_stays_and_the_last_administrator_is_kept(self) -> None:
        self.assertFalse(self.answer("POST", f"users/{self.member.pk}/deactivate")["active"])
        self.assertTrue(self.answer("POST", f"users/{self.member.pk}/activate")["active"])
        error = self.refused(self.ask("POST", f"users/{self.root.pk}/deactivate"), 400)
        self.assertIn("administrator", error["message"] + str(error["fields"]))

    def test_a_password_is_temporary_and_never_answered(self) -> None:
        made = self.ask("POST", "users", {"username": "x", "password": "correct horse 9"})
        self.assertNotIn("correct", made.content.decode())
        user = User.objects.get(username="x")
        self.assertTrue(user.check_password("correct horse 9"))
        self.assertTrue(user.must_change_password)

    def test_a_list_is_filtered(self) -> None:
        for query, names in (
            ("q=张", {"张伟"}),
            ("team=other", {"stranger"}),
            ("role=administrator", {"root"}),
            ("active=false", set()),
            ("service=true", set()),
        ):
            with self.subTest(query=query):
                found = self.answer("GET", f"users?{query}")
                self.assertEqual({user["username"] for user in found["items"]}, names)


class Teams(ManageTestCase):
    def test_a_team_is_created_changed_and_taken_out_of_use(self) -> None:
        made = self.answer(
            "POST", "teams", {"name": "研发一组", "cost_center": "4711", "parent": "平台组", "lead": "lead"}, status=201
        )
        self.assertEqual((made["parent"], made["lead"], made["active"]), ("平台组", "lead", True))
        changed = self.answer("PATCH", f"teams/{made['id']}", {"name": "研发", "lead": None})
        self.assertEqual(changed, made | {"name": "研发", "lead": None})
        self.assertFalse(self.answer("PATCH", f"teams/{made['id']}", {"active": False})["active"])

    def test_bad_fields_are_named_and_nothing_is_saved(self) -> None:
        for body, field in (
            ({"name": "平台组"}, "name"),
            ({"name": " "}, "name"),
            ({"name": "x", "parent": "y"}, "parent"),
            ({"name": "x", "lead": "nobody"}, "lead"),
            ({"name": "x", "cost_center": "9" * 100}, "cost_center"),
            ({"name": 5}, "name"),
        ):
            with self.subTest(body=body):
                self.refused(self.ask("POST", "teams", body), 400, field)
        self.refused(self.ask("PATCH", f"teams/{self.team.pk}", {"parent": "平台组"}), 400, "parent")
        self.refused(self.ask("PATCH", f"teams/{self.team.pk}", {"name": None}), 400, "name")
        # One field is good, and is not saved for that.
        self.refused(self.ask("PATCH", f"teams/{self.team.pk}", {"name": "renamed", "parent": "y"}), 400, "parent")
        self.assertEqual(set(Team.objects.values_list("name", flat=True)), {"平台组", "other"})


class Keys(ManageTestCase):
    def test_a_key_is_issued_with_its_secret_once(self) -> None:
        response = self.ask(
            "POST",
            "keys",
            {
                "user": "张伟",
                "name": "desk",
                "expires_in_days": 30,
                "allowed_networks": ["10.1.2.3/16"],
                "requests_per_minute": 60,
                "note": "新电脑",
            },
        )
        self.assertEqual(response.status_code, 201, response.content)
        self.assertEqual(response.headers["Cache-Control"], "no-store")
        made = response.json()
        secret = made.pop("secret")
        key = ApiKey.objects.get(pk=made["id"])
        self.assertEqual(key.digest, keys.digest(secret))
        self.assertEqual((made["state"], made["allowed_networks"], made["note"]), ("active", ["10.1.0.0/16"], "新电脑"))
        self.assertEqual(made["requests_per_minute"], "60")
        self.assertEqual(self.answer("GET", f"keys/{key.pk}"), made)
        self.assertNotIn(secret, self.ask("GET", "keys").content.decode())

    def test_a_name_that_the_user_has_given_already_is_a_fault_of_the_field(self) -> None:
        keys.revoke(self.plain_key)
        self.refused(self.ask("POST", "keys", {"user": "张伟", "name": "laptop"}), 400, "name")
        key, _secret = keys.issue(self.member, "desk")
        self.refused(self.ask("PATCH", f"keys/{key.pk}", {"name": "laptop"}), 400, "name")
        self.answer("PATCH", f"keys/{key.pk}", {"name": "desk", "note": "same name"})
        self.answer("POST", "keys", {"user": "root", "name": "laptop"}, status=201)

    def test_only_what_is_sent_changes(self) -> None:
        before = self.answer("GET", f"keys/{self.plain_key.pk}")
        for body in (
            {"note": "旧电脑"},
            {"max_concurrency": 3},
            {"max_concurrency": None},
            {"tokens_per_minute": 1000},
            {"allowed_models": ["main/*"]},
        ):
            with self.subTest(body=body):
                changed = self.answer("PATCH", f"keys/{self.plain_key.pk}", body)
                shown = {name: str(one) if name.endswith("minute") else one for name, one in body.items()}
                self.assertEqual(changed, before | shown)
                before = changed
        self.assertIsNone(
            self.answer("PATCH", f"keys/{self.plain_key.pk}", {"tokens_per_minute": None})["tokens_per_minute"]
        )
        self.assertFalse(Quota.objects.get(key=self.plain_key).is_active)

    def test_bad_fields_are_named_and_nothing_is_saved(self) -> None:
        count = ApiKey.objects.count()
        past = (timezone.now() - timedelta(days=1)).isoformat()
        for body, field in (
            ({"user": "nobody", "name": "x"}, "user"),
            ({"user": "张伟", "name": "laptop"}, ""),
            ({"user": "张伟", "name": "no name!"}, "name"),
            ({"user": "张伟", "name": "x", "expires_at": past}, "expires_at"),
            ({"user": "张伟", "name": "x", "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
            ({"user": "张伟", "name": "x", "expires_at": "soon"}, "expires_at"),
            ({"user": "张伟", "name": "x", "expires_at": "9999-12-31T23:59:59Z"}, "expires_at"),
            ({"user": "张伟", "name": "x", "expires_in_days": 0}, "expires_in_days"),
            ({"user": "张伟", "name": "x", "expires_in_days": -5}, "expires_in_days"),
            ({"user": "张伟", "name": "x", "expires_in_days": 10**30}, "expires_in_days"),
            ({"user": "张伟", "name": "x", "expires_in_days": "many"}, "expires_in_days"),
            ({"user": "张伟", "name": "x", "max_concurrency": -1}, "max_concurrency"),
            ({"user": "张伟", "name": "x", "allowed_networks": ["10.0.0.0/99"]}, "allowed_networks"),
            ({"user": "张伟", "name": "x", "allowed_models": [""]}, "allowed_models"),
            ({"user": "张伟", "name": "x", "capture": "all"}, "capture"),
            ({"user": "张伟", "name": "x", "scope": "root"}, "scope"),
            ({"user": "张伟", "name": "x", "note": "n" * 201}, "note"),
            ({"user": "张伟", "name": "x", "policy": "none"}, "policy"),
            ({"user": "张伟", "name": "x", "secret": "wg_mine"}, "secret"),
            ({"user": "张伟", "name": "x", "note": None}, "note"),
        ):
            with self.subTest(body=body):
                self.refused(self.ask("POST", "keys", body), 400, *filter(None, [field]))
        self.assertEqual(ApiKey.objects.count(), count)

    def test_rotation_gives_a_new_secret_and_the_former_one_a_grace(self) -> None:
        rotated = self.answer("POST", f"keys/{self.plain_key.pk}/rotate", {"grace_hours": 1})
        self.plain_key.refresh_from_db()
        self.assertEqual(self.plain_key.digest, keys.digest(rotated["secret"]))
        self.assertEqual(self.plain_key.previous_digest, keys.digest(self.plain_secret))
        self.refused(self.ask("POST", f"keys/{self.plain_key.pk}/rotate", {"grace_hours": -1}), 400, "grace_hours")

    def test_a_key_is_revoked_activated_and_extended(self) -> None:
        self.assertEqual(self.answer("POST", f"keys/{self.plain_key.pk}/revoke")["state"], "revoked")
        self.refused(self.ask("POST", f"keys/{self.plain_key.pk}/rotate"), 400)
        self.assertEqual(self.answer("POST", f"keys/{self.plain_key.pk}/activate")["state"], "active")
        extended = self.answer("POST", f"keys/{self.plain_key.pk}/extend", {"days": 7})
        self.assertIsNotNone(extended["expires_at"])
        self.refused(self.ask("POST", f"keys/{self.plain_key.pk}/extend", {}), 400, "days")

    def test_the_list_is_filtered(self) -> None:
        for query, names in (
            ("user=stranger", {"stranger/laptop"}),
            ("scope=admin", {"root/ops"}),
            ("state=revoked", set()),
            ("state=active&team=other", {"stranger/laptop"}),
            ("flagged=true", set()),
            (f"q={self.plain_secret[:10]}", {"张伟/laptop"}),
        ):
            with self.subTest(query=query):
                found = self.answer("GET", f"keys?{query}")["items"]
                self.assertEqual({f"{key['user']}/{key['name']}" for key in found}, names)
