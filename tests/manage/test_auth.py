"""Who is let in where: every operation of the document x every kind of caller."""

import re
from datetime import timedelta

from django.test import Client, override_settings
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, User
from gateway.asgi import is_api
from tests.manage.callers import ManageTestCase, operations

# Everybody who comes in at all.
OPEN = {"openapi_document", "whoami"}
OWN = {
    "list_users",
    "get_user",
    "list_keys",
    "get_key",
    "key_statistics",
    "list_quotas",
    "get_quota",
    "list_records",
    "get_record",
    "usage_report",
    "usage_overview",
    "budget_report",
}
TEAM_READS = {"list_teams", "get_team", "list_raises"}
MEMBER = OPEN | OWN
LEAD = (
    MEMBER
    | TEAM_READS
    | {"issue_key", "change_key", "rotate_key", "extend_key", "revoke_key", "activate_key", "clear_key_flag"}
    | {"create_quota", "change_quota", "reset_quota", "list_corrections"}
)
FINANCE = (
    MEMBER
    | TEAM_READS
    | {"list_rates", "list_prices", "list_prices_in_force", "list_unpriced", "list_models", "get_model"}
    | {"list_corrections", "list_closed_months"}
)


def _filled(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "0", path)


class AuthMatrix(ManageTestCase):
    def statuses(self, client: Client, *, secret: str = "", token: bool = True) -> dict[str, int]:
        """Return operation -> status of a request without anything useful in it."""
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        if token and "csrftoken" in client.cookies:
            headers["x-csrftoken"] = client.cookies["csrftoken"].value
        found = {}
        for method, path, name in operations():
            response = client.generic(
                method, _filled(path), b"" if method == "GET" else b"{}", "application/json", headers=headers
            )
            self.assertLess(response.status_code, 500, (name, response.content[:500]))
            if response.status_code >= 400:
                self.refused(response, response.status_code)
            found[name] = response.status_code
        return found

    def let_in(self, statuses: dict[str, int]) -> set[str]:
        return {name for name, status in statuses.items() if status not in (401, 403)}

    def session(self, user: User, *, token: bool = True) -> Client:
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        if token:
            client.cookies["csrftoken"] = "a" * 32
        return client

    def known(self, names: set[str]) -> set[str]:
        """Return those of `names` that the document has."""
        return names & {name for _method, _path, name in operations()}

    def test_nobody_comes_in_without_a_key_or_a_session(self) -> None:
        self.assertEqual(set(self.statuses(Client()).values()), {401})

    def test_keys_that_no_longer_work_or_have_no_scope_do_not_come_in(self) -> None:
        for secret, status in (
            (self.ended_secret("revoked"), 401),
            (self.ended_secret("expired"), 401),
            ("wg_" + "x" * 43, 401),
            ("schlüssel", 401),
            (self.plain_secret, 403),
        ):
            with self.subTest(secret=secret[:6]):
                self.assertEqual(set(self.statuses(Client(), secret=secret).values()), {status})

    def test_an_administrators_key_and_session_may_everything(self) -> None:
        everything = {name for _method, _path, name in operations()}
        self.assertEqual(self.let_in(self.statuses(Client(), secret=self.admin_secret)), everything)
        self.assertEqual(self.let_in(self.statuses(self.session(self.root))), everything)

    def test_a_session_without_a_token_only_reads(self) -> None:
        writes = {name for method, _path, name in operations() if method != "GET"}
        statuses = self.statuses(self.session(self.root, token=False), token=False)
        self.assertEqual({statuses[name] for name in writes}, {403})
        self.assertEqual(self.let_in(statuses), set(statuses) - writes)

    def test_a_key_with_the_scope_finance_reads_what_finance_reads(self) -> None:
        self.assertEqual(self.let_in(self.statuses(Client(), secret=self.finance_secret)), self.known(FINANCE))

    def test_finance_reads_and_writes_nothing(self) -> None:
        self.assertEqual(self.let_in(self.statuses(self.session(self.finance))), self.known(FINANCE))

    def test_a_team_lead_manages_keys_and_limits(self) -> None:
        self.assertEqual(self.let_in(self.statuses(self.session(self.lead))), self.known(LEAD))

    def test_a_member_reads_own_data(self) -> None:
        self.assertEqual(self.let_in(self.statuses(self.session(self.member))), self.known(MEMBER))

    def test_who_must_change_the_password_is_refused(self) -> None:
        User.objects.filter(pk=self.root.pk).update(must_change_password=True)
        self.assertEqual(set(self.statuses(self.session(self.root)).values()), {403})

    def test_a_deactivated_owner_ends_the_key_and_the_session(self) -> None:
        client = self.session(self.root)
        User.objects.filter(pk=self.root.pk).update(is_active=False)
        self.assertEqual(set(self.statuses(client).values()), {401})
        self.assertEqual(set(self.statuses(Client(), secret=self.admin_secret).values()), {401})


class Keys(ManageTestCase):
    def test_a_key_comes_by_either_header_and_beats_the_session(self) -> None:
        self.client.force_login(self.member)
        shown = self.answer("GET", "whoami")
        self.assertEqual((shown["key"], shown["scope"]), ("root/ops", "admin"))
        shown = self.answer("GET", "whoami", secret="", **{"x-api-key": self.finance_secret})
        self.assertEqual(shown["scope"], "finance")
        self.assertEqual(self.answer("GET", "whoami", secret="")["user"], "张伟")

    def test_a_former_secret_works_in_its_grace(self) -> None:
        keys.rotate(self.admin_key, timedelta(hours=1))
        self.answer("GET", "whoami")
        ApiKey.objects.filter(pk=self.admin_key.pk).update(previous_expires_at=timezone.now())
        self.refused(self.ask("GET", "whoami"), 401)

    def test_a_key_is_refused_from_elsewhere(self) -> None:
        ApiKey.objects.filter(pk=self.admin_key.pk).update(allowed_networks=["10.0.0.0/8"])
        self.refused(self.ask("GET", "whoami"), 403)
        ApiKey.objects.filter(pk=self.admin_key.pk).update(allowed_networks=["127.0.0.1"])
        self.answer("GET", "whoami")


class Shapes(ManageTestCase):
    def test_everything_that_is_no_answer_is_json_of_one_shape(self) -> None:
        for method, path, body, status in (
            ("GET", "nothing-here", None, 404),
            ("GET", "users/x", None, 404),
            ("GET", "users/999999", None, 404),
            ("GET", f"users/{10**30}", None, 404),
            ("GET", "", None, 404),
            ("DELETE", "users", {}, 405),
            ("PUT", f"keys/{self.plain_key.pk}", {}, 405),
            ("POST", "users", "{", 400),
            ("POST", "users", "[]", 400),
            ("POST", "users", b"\xff\xfe", 400),
            ("POST", "users", "", 400),
            ("POST", "users", '{"username": "x", "username": "y"}', 400),
            ("POST", "users", '{"username": NaN}', 400),
            ("POST", "users", "[" * 100_000, 400),
            ("POST", "users", '{"username": ' + "9" * 5000 + "}", 400),
            ("POST", "users", '{"username": "' + "x" * (4 * 2**20) + '"}', 413),
            ("GET", "users?limit=0", None, 400),
            ("GET", "users?limit=1001", None, 400),
            ("GET", "users?limit=many", None, 400),
            ("GET", "users?after=x", None, 400),
            ("GET", "users?uesr=x", None, 400),
            ("GET", "users?q=a&q=b", None, 400),
            ("GET", "users?q=%00", None, 400),
        ):
            with self.subTest(method=method, path=path, body=str(body)[:40]):
                self.refused(self.ask(method, path, body), status)

    def test_a_host_that_is_none_is_json_too(self) -> None:
        self.refused(self.client.get("/api/manage/users", headers={"host": "evil.example"}), 400)

    @override_settings(DEBUG=True)
    def test_a_page_for_developers_never_comes(self) -> None:
        self.refused(self.ask("GET", "nothing-here"), 404)

    def test_no_answer_is_stored_and_nobody_elsewhere_is_let_in(self) -> None:
        for path in ("users", "nothing-here"):
            response = self.ask("GET", path, origin="https://evil.example")
            self.assertEqual(response.headers["Cache-Control"], "no-store")
            self.assertNotIn("Access-Control-Allow-Origin", response.headers)

    def test_the_document_is_for_callers_and_names_every_operation(self) -> None:
        document = self.answer("GET", "openapi.json")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                with self.subTest(method=method, path=path):
                    self.assertTrue(operation["summary"] and operation["description"] and operation["tags"])
                    self.assertTrue(operation["security"])
                    self.assertLessEqual({"400", "401", "403", "404"}, set(map(str, operation["responses"])))
        self.assertEqual(set(document["components"]["securitySchemes"]), {"Bearer", "ApiKeyHeader", "AdminSession"})
        self.refused(self.ask("GET", "openapi.json", secret=""), 401)

    def test_the_paths_do_not_belong_to_the_light_handler(self) -> None:
        self.assertFalse(is_api("/api/manage/users"))
        self.assertFalse(is_api("/api/manage"))
        self.assertTrue(is_api("/api/openapi.json"))
