"""Records, paging and the audit log by the management API."""

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from accounts.models import AuditEntry, CallRecord, UsageDaily
from gateway.models import Capture
from tests.manage import rows
from tests.manage.callers import ManageTestCase, make_user


class Records(ManageTestCase):
    def test_the_list_goes_page_by_page_and_misses_none(self) -> None:
        now = timezone.now()
        for number in range(7):
            # Three begin at the same moment.
            rows.book(self.plain_key, started_at=now - timedelta(minutes=max(number, 3)))
        found: list[str] = []
        after = ""
        while True:
            page = self.answer("GET", f"records?limit=2{after}")
            found += [record["id"] for record in page["items"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
            # What comes meanwhile belongs to the front, and moves nothing.
            rows.book(self.foreign_key)
        self.assertEqual(len(found), 7)
        self.assertEqual(len(set(found)), 7)

    def test_filters(self) -> None:
        first = rows.book(self.plain_key, status=CallRecord.Status.FAILED, http_status=502)
        rows.book(self.foreign_key, model_name="small", session_id="s2", started_at=timezone.now() - timedelta(days=3))
        CallRecord.objects.filter(pk=first.pk).update(cost=None, currency="", input_tokens=5, usage_is_estimated=True)
        since = (timezone.now() - timedelta(days=1)).isoformat().replace("+", "%2B")
        for query, count in (
            ("", 2),
            ("user=张伟", 1),
            ("key=stranger/laptop", 1),
            ("team=平台组", 1),
            ("model=small", 1),
            ("platform=main", 2),
            ("provider=main&scene=闲聊&kind=main", 2),
            ("status=failed", 1),
            ("only=failed", 1),
            ("only=unpriced", 1),
            ("only=estimated", 1),
            ("only=fallback", 0),
            ("session=s2", 1),
            (f"from={since}", 1),
            (f"to={since}", 1),
            (f"request_id={first.request_id}", 1),
            (f"request_id={first.pk}", 1),
            ("request_id=req_none", 0),
        ):
            with self.subTest(query=query):
                self.assertEqual(len(self.answer("GET", f"records?{query}")["items"]), count)
        for query, field in (
            ("status=tired", "status"),
            ("key=nobody/x", "key"),
            ("from=yesterday", "from"),
            ("after=x", "after"),
            ("after=2026-01-01T00:00:00_" + "0" * 32, "after"),
            ("limit=-1", "limit"),
        ):
            with self.subTest(query=query):
                self.refused(self.ask("GET", f"records?{query}"), 400, field)

    def test_the_detail_has_attempts_decision_and_the_stages_that_were_kept(self) -> None:
        call = rows.book(self.plain_key)
        shown = self.answer("GET", f"records/{call.request_id}")
        self.assertEqual((shown["cost"], shown["decision"], shown["stages"]), ("0.5", {"why": "测试"}, None))
        self.assertEqual([attempt["platform"] for attempt in shown["attempts"]], ["main"])
        stages = self.answer("GET", f"records/{call.request_id}?stages=true")["stages"]
        self.assertEqual(stages["client_request"]["body"], "你好")
        self.assertIsNone(stages["client_response"])  # damaged
        self.refused(self.ask("GET", "records/none"), 404)
        self.refused(self.ask("GET", f"records/req_{'0' * 32}"), 404)

    def test_finance_and_members_see_no_prompts(self) -> None:
        call = rows.book(self.plain_key)
        for user in (self.finance, self.member, self.lead):
            with self.subTest(user=user.username):
                self.client.force_login(user)
                shown = self.answer("GET", f"records/{call.request_id}?stages=true", secret="")
                self.assertIsNone(shown["stages"])
        self.assertIsNone(
            self.answer("GET", f"records/{call.request_id}?stages=true", secret=self.finance_secret)["stages"]
        )

    def test_clearing_deletes_what_was_captured_and_never_the_books(self) -> None:
        old = rows.book(self.plain_key, started_at=timezone.now() - timedelta(days=40))
        new = rows.book(self.plain_key)
        before = list(UsageDaily.objects.values())
        self.assertEqual(self.answer("POST", "records/clear", {"older_than_days": 30}), {"captures": 1})
        self.assertEqual(list(Capture.objects.values_list("pk", flat=True)), [new.pk])
        self.assertEqual(set(CallRecord.objects.values_list("pk", flat=True)), {old.pk, new.pk})
        self.assertEqual(list(UsageDaily.objects.values()), before)
        entry = AuditEntry.objects.latest("pk")
        self.assertEqual((entry.actor, entry.actor_name, entry.via), (self.root, "key root/ops", "api"))
        for body in ({}, {"older_than_days": -1}, {"older_than_days": "all"}, {"older_than_days": 10**9}):
            with self.subTest(body=body):
                self.refused(self.ask("POST", "records/clear", body), 400, "older_than_days")
        self.assertEqual(self.answer("POST", "records/clear", {"older_than_days": 0}), {"captures": 1})


class Scoping(ManageTestCase):
    """What is hidden does not exist."""

    def test_foreign_rows_are_not_found(self) -> None:
        call = rows.book(self.foreign_key)
        quota = rows.make_quota(user=self.stranger)
        for user in (self.lead, self.member):
            self.client.force_login(user)
            for path in (
                f"keys/{self.foreign_key.pk}",
                f"keys/{self.foreign_key.pk}/statistics",
                f"users/{self.stranger.pk}",
                f"quotas/{quota.pk}",
                f"records/{call.request_id}",
            ):
                with self.subTest(user=user.username, path=path):
                    self.refused(self.ask("GET", path, secret=""), 404)
            for path, name in (("users", "stranger"), ("keys", "stranger"), ("records", "stranger")):
                self.assertNotIn(name, self.ask("GET", path, secret="").content.decode())
        self.client.force_login(self.lead)
        for method, path in (
            ("PATCH", f"keys/{self.foreign_key.pk}"),
            ("POST", f"keys/{self.foreign_key.pk}/rotate"),
            ("POST", f"keys/{self.foreign_key.pk}/revoke"),
            ("PATCH", f"quotas/{quota.pk}"),
            ("POST", f"quotas/{quota.pk}/reset"),
        ):
            with self.subTest(path=path):
                self.refused(self.ask(method, path, secret=""), 404)

    def test_a_lead_manages_the_keys_of_the_team_and_gives_no_scope(self) -> None:
        self.client.force_login(self.lead)
        made = self.answer("POST", "keys", {"user": "张伟", "name": "desk"}, status=201, secret="")
        self.answer("PATCH", f"keys/{made['id']}", {"note": "新"}, secret="")
        self.answer("POST", f"keys/{made['id']}/revoke", secret="")
        self.refused(self.ask("POST", "keys", {"user": "stranger", "name": "desk"}, secret=""), 400, "user")
        self.refused(self.ask("POST", "keys", {"user": "张伟", "name": "x", "scope": "admin"}, secret=""), 403, "scope")
        self.refused(self.ask("PATCH", f"keys/{made['id']}", {"scope": "finance"}, secret=""), 403, "scope")

    def test_a_lead_limits_people_but_not_the_team(self) -> None:
        self.client.force_login(self.lead)
        body = {"unit": "tokens", "window": "day", "limit": 5}
        self.answer("POST", "quotas", body | {"user": "张伟"}, status=201, secret="")
        self.refused(self.ask("POST", "quotas", body | {"team": "平台组"}, secret=""), 403)
        self.refused(self.ask("POST", "quotas", body | {"user": "stranger"}, secret=""), 400, "user")
        quota = rows.make_quota(team=self.team, limit=Decimal(7))
        self.refused(self.ask("PATCH", f"quotas/{quota.pk}", {"limit": 9}, secret=""), 403)

    def test_a_key_of_an_administrator_is_not_rotated_by_a_lead(self) -> None:
        boss = make_user("boss", "administrator", self.team)
        self.admin_key.user = boss
        self.admin_key.save()
        self.client.force_login(self.lead)
        self.refused(self.ask("POST", f"keys/{self.admin_key.pk}/rotate", secret=""), 403)


class Paging(ManageTestCase):
    def test_a_row_that_comes_or_changes_meanwhile_moves_nothing(self) -> None:
        for number in range(5):
            make_user(f"u{number}")
        names: list[str] = []
        after = ""
        while True:
            page = self.answer("GET", f"users?limit=3{after}")
            names += [user["username"] for user in page["items"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
            self.answer("PATCH", f"users/{self.member.pk}", {"username": f"a{len(names)}"})
        self.assertEqual(len(names), 10)
        self.assertEqual(len(set(names)), 10)


class Audit(ManageTestCase):
    def test_the_log_is_read_and_filtered(self) -> None:
        self.answer("POST", "records/clear", {"older_than_days": 1})
        [entry] = self.answer("GET", "audit?via=api&action=other&actor=root")["items"]
        self.assertEqual((entry["actor"], entry["object_type"]), ("key root/ops", "routing.runtimesettings"))
        self.assertEqual(self.answer("GET", "audit?object_type=none")["items"], [])
        self.refused(self.ask("GET", "audit?via=pigeon"), 400, "via")
