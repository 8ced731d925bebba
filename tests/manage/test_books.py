"""Corrections and closed months by the management API, and the audit entry of every write."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from accounts.models import AuditEntry, ClosedMonth, Correction, UsageDaily
from providers.models import Model
from routing.models import Route
from tests.manage import rows
from tests.manage.callers import ManageTestCase


class Corrections(ManageTestCase):
    def test_a_correction_of_a_call_moves_its_day_and_not_the_call(self) -> None:
        call = rows.book(self.plain_key)
        body = {"call": call.request_id, "cost": "-0.2", "currency": "USD", "reason": "平台退款"}
        made = self.answer("POST", "corrections", body, status=201)
        self.assertEqual((made["cost"], made["made_by"], made["reason"]), ("-0.2", "root", "平台退款"))
        self.assertEqual(UsageDaily.objects.aggregate(cost=Sum("cost"))["cost"], Decimal("0.3"))
        call.refresh_from_db()
        self.assertEqual(call.cost, Decimal("0.5"))
        self.assertEqual(self.answer("GET", "corrections")["items"], [made])
        self.assertEqual(self.answer("GET", "reports/usage")["total"]["cost"], "0.3")

    def test_bad_fields_are_named_and_nothing_is_saved(self) -> None:
        good = {"key": "张伟/laptop", "cost": 1, "currency": "USD", "reason": "x"}
        tomorrow = (timezone.now() + timedelta(days=2)).date().isoformat()
        for change, field in (
            ({"key": None}, "call"),
            ({"call": "req_1"}, "call"),
            ({"key": "nobody/x"}, "key"),
            ({"key": None, "call": "req_" + "0" * 32}, "call"),
            ({"cost": 0}, "cost"),
            ({"cost": "NaN"}, "cost"),
            ({"cost": "1e30"}, "cost"),
            ({"cost": "0.00000000001"}, "cost"),
            ({"currency": "dollar"}, "currency"),
            ({"reason": " "}, "reason"),
            ({"corrects_on": tomorrow}, "corrects_on"),
            ({"input_tokens": "many"}, "input_tokens"),
            ({"user": "x"}, "user"),
        ):
            with self.subTest(change=change):
                self.refused(self.ask("POST", "corrections", good | change), 400, field)
        self.assertFalse(Correction.objects.exists())

    def test_a_month_is_closed_once_and_not_before_it_is_over(self) -> None:
        now = timezone.now()
        self.refused(self.ask("POST", "closed-months", {"month": f"{now:%Y-%m}"}), 409)
        made = self.answer("POST", "closed-months", {"month": "2020-02", "note": "结账"}, status=201)
        self.assertEqual((made["month"], made["closed_by"], made["note"]), ("2020-02", "root", "结账"))
        self.refused(self.ask("POST", "closed-months", {"month": "2020-02"}), 409)
        for month in ("2020-13", "0000-01", "now", 5, None):
            with self.subTest(month=month):
                self.refused(self.ask("POST", "closed-months", {"month": month}), 400, "month")
        self.assertEqual(ClosedMonth.objects.count(), 1)


class Audit(ManageTestCase):
    def test_every_write_is_in_the_log_with_who_wrote_it(self) -> None:
        provider = rows.make_platform()
        rows.make_routing(provider)
        quota = rows.make_quota(user=self.member)
        key, model = self.plain_key.pk, Model.objects.get(model_id="big").pk
        credential = provider.credentials.get().pk
        soon = (timezone.now() + timedelta(days=3)).isoformat()
        writes: tuple[tuple[str, str, Any, str], ...] = (
            ("POST", "users", {"username": "x"}, "accounts.user"),
            ("PATCH", f"users/{self.member.pk}", {"first_name": "伟"}, "accounts.user"),
            ("POST", f"users/{self.stranger.pk}/deactivate", {}, "accounts.user"),
            ("POST", f"users/{self.stranger.pk}/activate", {}, "accounts.user"),
            ("POST", "teams", {"name": "x"}, "accounts.team"),
            ("PATCH", f"teams/{self.team.pk}", {"cost_center": "1"}, "accounts.team"),
            ("POST", "keys", {"user": "张伟", "name": "x"}, "accounts.apikey"),
            ("PATCH", f"keys/{key}", {"note": "x"}, "accounts.apikey"),
            ("POST", f"keys/{key}/rotate", {}, "accounts.apikey"),
            ("POST", f"keys/{key}/extend", {"days": 5}, "accounts.apikey"),
            ("POST", f"keys/{key}/revoke", {}, "accounts.apikey"),
            ("POST", f"keys/{key}/activate", {}, "accounts.apikey"),
            ("POST", "quotas", {"team": "other", "unit": "tokens", "window": "day", "limit": 5}, "accounts.quota"),
            ("PATCH", f"quotas/{quota.pk}", {"limit": 5}, "accounts.quota"),
            ("POST", f"quotas/{quota.pk}/raises", {"amount": 5, "ends_at": soon}, "accounts.quotaraise"),
            ("POST", "prices", {"model": "main/big", "currency": "USD", "input": 1, "output": 1}, "providers.price"),
            (
                "POST",
                "rates",
                {"from": "USD", "to": "CNY", "rate": 7, "valid_from": "2026-01-01"},
                "accounts.exchangerate",
            ),
            ("PATCH", f"platforms/{provider.pk}", {"max_concurrency": 5}, "providers.provider"),
            ("POST", f"platforms/{provider.pk}/disable", {}, "providers.provider"),
            ("POST", f"platforms/{provider.pk}/enable", {}, "providers.provider"),
            ("POST", f"platforms/{provider.pk}/credentials", {"name": "x", "secret": "sk-x"}, "providers.credential"),
            (
                "PATCH",
                f"platforms/{provider.pk}/credentials/{credential}",
                {"secret": "sk-another-secret-abcd"},
                "providers.credential",
            ),
            ("DELETE", f"platforms/{provider.pk}/credentials/{credential}", {}, "providers.credential"),
            ("POST", "models", {"platform": "main", "model_id": "x"}, "providers.model"),
            ("PATCH", f"models/{model}", {"context_window": 5}, "providers.model"),
            ("PATCH", "routing/mode", {"mode": "smart"}, "routing.policy"),
            ("PATCH", "routing/routes/everyday", {"order": "weighted"}, "routing.route"),
            ("PUT", "routing", {"routes": [{"name": "x", "targets": ["main/big"]}]}, "routing.route"),
            ("PATCH", "routing/settings", {"ping_interval_s": 20}, "routing.runtimesettings"),
            ("POST", "records/clear", {"older_than_days": 5}, "routing.runtimesettings"),
            (
                "POST",
                "corrections",
                {"key": "张伟/laptop", "cost": 1, "currency": "USD", "reason": "x"},
                "accounts.correction",
            ),
            ("POST", "closed-months", {"month": "2020-02"}, "accounts.closedmonth"),
        )
        for method, path, body, kind in writes:
            with self.subTest(method=method, path=path):
                last = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
                response = self.ask(method, path, body)
                self.assertLess(response.status_code, 300, response.content)
                entries = AuditEntry.objects.filter(pk__gt=last)
                self.assertIn(kind, set(entries.values_list("object_type", flat=True)))
                self.assertEqual(
                    set(entries.values_list("actor_name", "via", "actor")), {("key root/ops", "api", self.root.pk)}
                )
        text = str(list(AuditEntry.objects.values_list("changes", "note")))
        for secret in ("sk-another", rows.CREDENTIAL, self.plain_key.digest):
            self.assertNotIn(secret, text)

    def test_what_is_refused_or_only_tried_is_not_in_the_log(self) -> None:
        rows.make_routing(rows.make_platform())
        before = AuditEntry.objects.count()
        self.ask("PATCH", f"teams/{self.team.pk}", {"name": "renamed", "parent": "none"})
        self.answer("PUT", "routing?dry_run=true", {"routes": [{"name": "x", "targets": ["main/big"]}]})
        self.assertFalse(Route.objects.filter(name="x").exists())
        self.assertEqual(AuditEntry.objects.count(), before)
