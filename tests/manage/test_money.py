"""Quotas, prices, rates and reports by the management API."""

from datetime import timedelta
from decimal import Decimal

from django.contrib.auth.models import Permission
from django.utils import timezone

from accounts.models import CallRecord, ExchangeRate, Quota, QuotaRaise, QuotaWindow, UsageDaily
from providers.models import Price
from tests.manage import rows
from tests.manage.callers import ManageTestCase, make_user


class Quotas(ManageTestCase):
    def test_a_quota_is_created_changed_and_taken_out_of_force(self) -> None:
        body = {"team": "平台组", "unit": "cost", "window": "month", "limit": "500.5", "currency": "CNY"}
        made = self.answer("POST", "quotas", body, status=201)
        self.assertEqual((made["team"], made["limit"], made["currency"]), ("平台组", "500.5", "CNY"))
        self.assertEqual(self.answer("GET", f"quotas/{made['id']}"), made)
        changed = self.answer("PATCH", f"quotas/{made['id']}", {"limit": 1000})
        self.assertEqual(changed, made | {"limit": "1000"})
        changed = self.answer("PATCH", f"quotas/{made['id']}", {"active": False})
        self.assertEqual((changed["active"], changed["limit"]), (False, "1000"))

    def test_of_a_key_it_shows_what_is_used(self) -> None:
        quota = rows.make_quota(key=self.plain_key)
        now = timezone.now()
        QuotaWindow.objects.create(
            quota=quota, starts_at=now - timedelta(days=9), ends_at=now - timedelta(days=8), used=7
        )
        QuotaWindow.objects.create(
            quota=quota, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1), used=5, reserved=2
        )
        shown = self.answer("GET", f"quotas/{quota.pk}")
        self.assertEqual(
            (shown["key"], shown["used"], shown["reserved"], shown["currency"]), ("张伟/laptop", "5", "2", None)
        )
        self.assertEqual(self.answer("GET", "quotas?key=张伟/laptop")["items"], [shown])

    def test_a_quota_of_the_same_kind_is_named_as_the_one_to_change(self) -> None:
        body = {"user": "张伟", "unit": "cost", "window": "month", "limit": 5, "currency": "CNY"}
        made = self.answer("POST", "quotas", body, status=201)
        error = self.refused(self.ask("POST", "quotas", {**body, "limit": 7}), 400, "window")
        self.assertIn(f"quota {made['id']}", error["fields"]["window"][0])
        self.answer("POST", "quotas", {**body, "currency": "USD"}, status=201)
        self.answer("POST", "quotas", {**body, "window": "day"}, status=201)

    def test_bad_fields_are_named_and_nothing_is_saved(self) -> None:
        good = {"user": "张伟", "unit": "tokens", "window": "day", "limit": 100}
        rows.make_quota(user=self.stranger)
        for change, field in (
            ({"limit": -1}, "limit"),
            ({"limit": "many"}, "limit"),
            ({"limit": "NaN"}, "limit"),
            ({"limit": "Infinity"}, "limit"),
            ({"limit": "1e400"}, "limit"),
            ({"limit": 10**30}, "limit"),
            ({"limit": "0.0000001"}, "limit"),
            ({"limit": None}, "limit"),
            ({"unit": "words"}, "unit"),
            ({"window": "year"}, "window"),
            ({"action": "shout"}, "action"),
            ({"user": "nobody"}, "user"),
            ({"team": "平台组"}, "team"),
            ({"user": None}, "team"),
            ({"user": None, "key": "张伟/none"}, "key"),
            ({"currency": "USD"}, "currency"),
            ({"unit": "cost"}, "currency"),
            ({"unit": "cost", "currency": "dollar"}, "currency"),
            ({"reset": True}, "reset"),
        ):
            with self.subTest(change=change):
                self.refused(self.ask("POST", "quotas", good | change), 400, field)
        # The same subject, unit and window a second time.
        self.refused(self.ask("POST", "quotas", good | {"user": "stranger"}), 400)
        self.assertEqual(Quota.objects.count(), 1)
        quota = Quota.objects.get()
        self.refused(self.ask("PATCH", f"quotas/{quota.pk}", {"limit": 5, "action": None}), 400, "action")
        self.refused(self.ask("PATCH", f"quotas/{quota.pk}", {"limit": 5, "unit": "cost"}), 400, "unit")
        quota.refresh_from_db()
        self.assertEqual(quota.limit, 100)

    def test_a_raise_is_granted_and_ended(self) -> None:
        quota = rows.make_quota(user=self.member)
        ends_at = (timezone.now() + timedelta(days=3)).isoformat()
        made = self.answer(
            "POST", f"quotas/{quota.pk}/raises", {"amount": 50, "ends_at": ends_at, "reason": "发布周"}, status=201
        )
        self.assertEqual((made["amount"], made["granted_by"]), ("50", "root"))
        self.assertEqual(self.answer("GET", f"quotas/{quota.pk}")["raised"], "50")
        self.answer("POST", f"quotas/{quota.pk}/raises/{made['id']}/end")
        self.assertEqual(self.answer("GET", f"quotas/{quota.pk}")["raised"], "0")
        self.assertEqual(len(self.answer("GET", f"quotas/{quota.pk}/raises")["items"]), 1)
        past = (timezone.now() - timedelta(days=3)).isoformat()
        for body, field in (
            ({"amount": 0, "ends_at": ends_at}, "amount"),
            ({"amount": -1, "ends_at": ends_at}, "amount"),
            ({"amount": 1, "ends_at": past}, "ends_at"),
            ({"amount": 1, "ends_at": ends_at, "starts_at": "2199-01-01T00:00:00Z"}, "ends_at"),
            ({"amount": 1}, "ends_at"),
        ):
            with self.subTest(body=body):
                self.refused(self.ask("POST", f"quotas/{quota.pk}/raises", body), 400, field)
        self.assertEqual(QuotaRaise.objects.count(), 1)

    def test_a_reset_keeps_history(self) -> None:
        quota = rows.make_quota(user=self.member)
        now = timezone.now()
        window = QuotaWindow.objects.create(
            quota=quota, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1), used=Decimal(5)
        )
        done = self.answer("POST", f"quotas/{quota.pk}/reset")
        self.assertEqual((done["reset"], done["used"]), (True, "5"))
        window.refresh_from_db()
        self.assertEqual(window.used, 5)
        self.assertFalse(self.answer("POST", f"quotas/{quota.pk}/reset")["reset"])


class Prices(ManageTestCase):
    def setUp(self) -> None:
        rows.make_platform()

    def test_a_price_is_appended_and_the_past_stays(self) -> None:
        body = {
            "model": "main/big",
            "currency": "CNY",
            "input": "20.5",
            "output": 60,
            "cache_read": 2,
            "tiers": [{"above": 32000, "input": 40, "output": "120"}],
            "note": "合同",
        }
        made = self.answer("POST", "prices", body, status=201)
        self.assertEqual((made["input"], made["note"], made["source"]), ("20.5", "合同", "admin"))
        self.assertEqual(made["tiers"][0]["output"], "120")
        self.assertEqual(Price.objects.filter(model__model_id="big").count(), 2)
        listed = self.answer("GET", "prices?model=main/big")["items"]
        self.assertEqual([price["currency"] for price in listed], ["CNY", "USD"])
        [big, small] = self.answer("GET", "prices/in-force?platform=main")["items"]
        self.assertEqual([price["id"] for price in big["stored"]], [made["id"]])
        self.assertEqual(small["stored"][0]["currency"], "USD")

    def test_bad_fields_are_named_and_nothing_is_saved(self) -> None:
        good = {"model": "main/big", "currency": "USD", "input": 1, "output": 2}
        count = Price.objects.count()
        for change, field in (
            ({"model": "main/none"}, "model"),
            ({"model": "big"}, "model"),
            ({"currency": "usd"}, "currency"),
            ({"input": -1}, "input"),
            ({"output": "cheap"}, "output"),
            ({"output": "1e30"}, "output"),
            ({"cache_write_1h": "NaN"}, "cache_write_1h"),
            ({"tiers": [{"above": 0, "input": 1, "output": 1}]}, "tiers[0].above"),
            ({"tiers": [{"above": 5, "input": 1, "output": 1, "thinking": 2}]}, "tiers[0].thinking"),
            ({"tiers": [{"above": 5, "input": 1, "output": 1}] * 2}, "tiers"),
            ({"hours_from": "09:00"}, "hours_until"),
            ({"hours_from": "09:00", "hours_until": "noon"}, "hours_until"),
            ({"time_zone": "Mars/Base", "hours_from": "09:00", "hours_until": "10:00"}, "time_zone"),
            ({"valid_from": "yesterday"}, "valid_from"),
            ({"source": "bundled"}, "source"),
        ):
            with self.subTest(change=change):
                self.refused(self.ask("POST", "prices", good | change), 400, field)
        self.assertEqual(Price.objects.count(), count)

    def test_unpriced_models_are_listed_and_their_calls_priced(self) -> None:
        call = rows.book(self.plain_key, model_name="small", cost=None, currency="")
        Price.objects.update(valid_from=timezone.now() - timedelta(days=1))
        self.assertEqual(
            self.answer("GET", "prices/unpriced")["items"], [{"model": "main/small", "calls": 1, "tokens": 110}]
        )
        planned = self.answer("POST", "prices/price-calls", {"model": "main/small", "dry_run": True})
        self.assertEqual(planned["priced"], 1)
        self.assertIsNone(CallRecord.objects.get(pk=call.pk).cost)
        done = self.answer("POST", "prices/price-calls", {"model": "main/small"})
        self.assertEqual((done["priced"], done["costs"]), (1, {"USD": "0.00045"}))
        self.assertEqual(CallRecord.objects.get(pk=call.pk).cost, Decimal("0.00045"))
        self.refused(self.ask("POST", "prices/price-calls", {"model": "none/small"}), 400, "model")

    def test_who_sees_some_teams_only_prices_no_calls(self) -> None:
        clerk = make_user("clerk", team=self.team)
        clerk.user_permissions.add(Permission.objects.get(codename="add_price"))
        self.client.force_login(clerk)
        answer = self.ask("POST", "prices/price-calls", {"model": "main/small"}, secret="")
        self.assertIn("sees all teams", self.refused(answer, 403)["message"])


class Rates(ManageTestCase):
    def test_a_rate_is_appended(self) -> None:
        body = {"from": "USD", "to": "CNY", "rate": "7.1", "valid_from": "2026-01-01", "note": "央行"}
        made = self.answer("POST", "rates", body, status=201)
        self.assertEqual((made["from"], made["to"], made["rate"], made["note"]), ("USD", "CNY", "7.1", "央行"))
        self.assertEqual(self.answer("GET", "rates?from=USD")["items"], [made])
        for change, field in (
            ({}, "valid_from"),
            ({"to": "USD"}, "to"),
            ({"to": "yuan"}, "to"),
            ({"rate": 0}, "rate"),
            ({"rate": -7}, "rate"),
            ({"rate": "Infinity"}, "rate"),
            ({"rate": "1e20"}, "rate"),
            ({"valid_from": "2026-02-30"}, "valid_from"),
            ({"valid_from": "1066-01-01"}, "valid_from"),
            ({"pair": "x"}, "pair"),
        ):
            with self.subTest(change=change):
                self.refused(self.ask("POST", "rates", body | change), 400, field)
        self.assertEqual(ExchangeRate.objects.count(), 1)


class Reports(ManageTestCase):
    def setUp(self) -> None:
        for number in range(3):
            rows.book(self.plain_key, number)
        rows.book(self.foreign_key, model_name="small")

    def test_rows_add_up_to_the_total_and_to_the_records(self) -> None:
        report = self.answer("GET", "reports/usage?by=team,model")
        self.assertEqual(report["total"]["calls"], CallRecord.objects.count())
        self.assertEqual(report["total"]["cost"], "2")
        self.assertEqual({tuple(row["labels"]) for row in report["rows"]}, {("平台组", "big"), ("other", "small")})
        self.assertEqual(sum(row["totals"]["calls"] for row in report["rows"]), 4)

    def test_filters_and_pages(self) -> None:
        for query, calls in (
            ("user=张伟", 3),
            ("key=stranger/laptop", 1),
            ("team=other", 1),
            ("model=small", 1),
            ("scene=闲聊&kind=main&provider=main", 4),
            ("session=s1", 4),
            ("from=2020-01-01&to=2020-02-01", 0),
        ):
            with self.subTest(query=query):
                self.assertEqual(self.answer("GET", f"reports/usage?{query}")["total"]["calls"], calls)
        first = self.answer("GET", "reports/usage?by=user&limit=1")
        second = self.answer("GET", f"reports/usage?by=user&limit=1&after={first['next']}")
        self.assertIsNone(second["next"])
        self.assertEqual({first["rows"][0]["labels"][0], second["rows"][0]["labels"][0]}, {"张伟", "stranger"})
        for query, field in (
            ("by=weather", "by"),
            ("by=user,user", "by"),
            ("user=nobody", "user"),
            ("from=2026-02-01&to=2026-01-01", "to"),
            ("from=0001-01-01", "from"),
            ("from=soon", "from"),
            ("after=-1", "after"),
        ):
            with self.subTest(query=query):
                self.refused(self.ask("GET", f"reports/usage?{query}"), 400, field)

    def test_each_sees_what_is_visible(self) -> None:
        for user, calls in ((self.member, 3), (self.stranger, 1), (self.lead, 3), (self.finance, 4)):
            with self.subTest(user=user.username):
                self.client.force_login(user)
                report = self.answer("GET", "reports/usage", secret="")
                self.assertEqual(report["total"]["calls"], calls)
                overview = self.answer("GET", "reports/overview", secret="")
                self.assertEqual(overview["total"]["calls"], calls)

    def test_a_keys_statistics(self) -> None:
        shown = self.answer("GET", f"keys/{self.plain_key.pk}/statistics")
        self.assertEqual((shown["total"]["calls"], shown["total"]["input_tokens"]), (3, 300))
        self.assertEqual([row["labels"] for row in shown["by_model"]], [["big"]])
        self.assertEqual(len(shown["by_day"]), UsageDaily.objects.filter(key=self.plain_key).count())

    def test_budgets(self) -> None:
        quota = rows.make_quota(user=self.member)
        [budget] = self.answer("GET", "reports/budgets")["items"]
        self.assertEqual((budget["quota_id"], budget["limit"], budget["used"]), (quota.pk, "100", "0"))
        self.assertEqual((budget["raised"], budget["runs_out_at"]), ("0", None))
