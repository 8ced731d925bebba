"""Numbers, days and names that cannot be: an error at the field, and nothing is saved."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import keys
from accounts.models import ApiKey, Quota, Team, User
from providers.models import Model, Price, Provider
from tests.admin.pages import AdminTestCase, list_url, row_url


class Quotas(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.team = Team.objects.create(name="core")
        self.user = User.objects.create(username="dev", team=self.team)
        self.key, _secret = keys.issue(self.user, "laptop")

    def add(self, **fields: Any) -> HttpResponse:
        data = {"unit": "tokens", "window": "day", "limit": "1000", "currency": "USD", "action": "block", **fields}
        return self.client.post(list_url(Quota) + "add/", {"is_active": "on", **data})

    def errors(self, **fields: Any) -> dict[str, list[str]]:
        response = self.add(**fields)
        self.assertEqual(response.status_code, 200)
        form = response.context["adminform"].form  # type: ignore[attr-defined]
        return dict(form.errors)

    def warnings(self, **fields: Any) -> list[str]:
        self.client.get(reverse("admin:index"))
        response = self.add(is_active="on", **fields)
        self.assertEqual(response.status_code, 302, getattr(response, "context", None))
        return [str(message) for message in get_messages(response.wsgi_request) if message.level_tag == "warning"]

    def test_a_quota_in_a_currency_without_a_price_is_told_to_count_nothing(self) -> None:
        team = {"team": self.team.pk, "unit": "cost"}
        [text] = self.warnings(currency="CNY", window="month", **team)
        self.assertIn("No model has a price in CNY", text)
        provider = Provider.objects.create(name="qwen", kind="dashscope")
        Model.objects.create(provider=provider, model_id="qwen3-coder-plus")
        self.assertEqual(self.warnings(currency="CNY", **team), [])  # the bundled list has it
        self.assertEqual(len(self.warnings(currency="EUR", **team)), 1)
        model = Model.objects.create(provider=provider, model_id="own")
        Price.objects.create(
            model=model, currency="EUR", input_per_million=1, output_per_million=1, valid_from=timezone.now()
        )
        self.assertEqual(self.warnings(currency="EUR", window="week", **team), [])
        self.assertEqual(self.warnings(unit="tokens", team=self.team.pk), [])

    def test_limits_that_are_no_amounts(self) -> None:
        for limit, message in (
            ("-1", "greater than or equal to 0"),
            ("-0.000001", "greater than or equal to 0"),
            ("much", "Enter a number."),
            ("NaN", "Enter a number."),
            ("Infinity", "Enter a number."),
            ("-Infinity", "Enter a number."),
            ("1e99", "no more than 20 digits"),
            ("9" * 15, "no more than 14 digits before the decimal point"),
            ("0.0000001", "no more than 6 decimal places"),
            ("１０００x", "Enter a number."),
            ("", "This field is required."),
        ):
            with self.subTest(limit=limit):
                errors = self.errors(user=self.user.pk, limit=limit)
                self.assertEqual(set(errors), {"limit"})
                self.assertIn(message, errors["limit"][0])
        self.assertFalse(Quota.objects.exists())

    def test_currencies_that_are_none(self) -> None:
        for currency in ("US", "12$", "元元元", ""):
            with self.subTest(currency=currency):
                self.assertEqual(set(self.errors(user=self.user.pk, unit="cost", currency=currency)), {"currency"})
        self.add(user=self.user.pk, unit="cost", currency="cny")
        self.assertEqual(Quota.objects.get().currency, "CNY")

    def test_the_same_quota_twice(self) -> None:
        self.assertEqual(self.add(team=self.team.pk).status_code, 302)
        # Of tokens the currency tells nothing apart.
        for fields in ({}, {"currency": "CNY"}, {"limit": "5", "action": "warn"}):
            errors = self.errors(team=self.team.pk, **fields)
            text = "This quota is there already: team core: 1,000 tokens / day."
            self.assertEqual(list(errors), ["window"])
            self.assertTrue(errors["window"][0].startswith(text))
        Quota.objects.update(is_active=False)
        self.assertIn("but not active", self.errors(team=self.team.pk)["window"][0])
        self.assertEqual(Quota.objects.count(), 1)
        for fields in ({"window": "week"}, {"unit": "requests"}, {"unit": "cost"}, {"unit": "cost", "currency": "CNY"}):
            self.assertEqual(self.add(team=self.team.pk, **fields).status_code, 302)

    def test_a_key_may_not_be_promised_more_than_its_user_and_team_have(self) -> None:
        Quota.objects.create(team=self.team, unit="tokens", window="month", limit=Decimal(500))
        Quota.objects.create(user=self.user, unit="tokens", window="day", limit=Decimal(800))
        Quota.objects.create(user=self.user, unit="tokens", window="minute", limit=Decimal(1))
        Quota.objects.create(user=self.user, unit="tokens", window="week", limit=Decimal(1), action="warn")
        Quota.objects.create(user=self.user, unit="requests", window="day", limit=Decimal(1))
        self.assertEqual(
            self.warnings(key=self.key.pk),
            [
                "The quota of team core allows less: 500 tokens / month. The stricter one wins.",
                "The quota of user dev allows less: 800 tokens / day. The stricter one wins.",
            ],
        )
        self.assertEqual(len(self.warnings(user=self.user.pk, window="5h", limit="600")), 1)
        self.assertEqual(self.warnings(key=self.key.pk, window="total", limit="9999"), [])
        self.assertNotIn("stricter", str(self.warnings(key=self.key.pk, unit="cost", limit="9999")))
        quota = Quota.objects.get(key=self.key, window="total")
        forms = {"raises-TOTAL_FORMS": "0", "raises-INITIAL_FORMS": "0"}
        data = {"limit": "-5", "action": "block", "is_active": "on", **forms}
        self.assertContains(self.client.post(row_url(quota), data), "greater than or equal to 0")


class Bulk(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.people = [User.objects.create(username=name) for name in ("a", "b")]
        self.keys = [
            keys.issue(person, "cc", expires_at=timezone.now() + timedelta(days=3))[0] for person in self.people
        ]

    def send(self, url: str, selection: dict[int, str], **data: Any) -> dict[str, list[str]]:
        before = list(ApiKey.objects.order_by("pk").values()), Quota.objects.count()
        response = self.client.post(reverse(url), {"selection": json.dumps(selection), **data})
        self.assertContains(response, "Please correct the errors below.")
        self.assertEqual((list(ApiKey.objects.order_by("pk").values()), Quota.objects.count()), before)
        return dict(response.context["form"].errors)

    def test_issuing(self) -> None:
        plain = {"name": "new", "lifetime": "30", "allowed_models": "[]"}
        selection = dict.fromkeys((person.pk for person in self.people), "")
        far = f"{timezone.localdate().year + 101}-01-01"
        for field, fields in (
            ("name", {"name": ""}),
            ("name", {"name": "x" * 61}),
            ("name", {"name": "a\x00b"}),
            ("__all__", {"name": "cc"}),
            ("lifetime", {"lifetime": "-30"}),
            ("lifetime", {"lifetime": "99999999999"}),
            ("lifetime", {"expires_on": f"{timezone.localdate()}"}),
            ("expires_on", {"lifetime": "date"}),
            ("expires_on", {"lifetime": "date", "expires_on": "2001-01-01"}),
            ("expires_on", {"lifetime": "date", "expires_on": far}),
            ("expires_on", {"lifetime": "date", "expires_on": "tomorrow"}),
            ("expires_on", {"lifetime": "date", "expires_on": "2030-02-30"}),
            ("max_concurrency", {"max_concurrency": "0"}),
            ("max_concurrency", {"max_concurrency": "1e3"}),
            ("requests_per_minute", {"requests_per_minute": "-1"}),
            ("tokens_per_minute", {"tokens_per_minute": "1000000001"}),
            ("tokens_per_minute", {"tokens_per_minute": "NaN"}),
            ("allowed_networks", {"allowed_networks": "10.0.0.0/33"}),
            ("allowed_models", {"allowed_models": "{"}),
            ("delivery", {"delivery": "31536000"}),
            ("links_as", {"delivery": "86400", "links_as": "fax"}),
        ):
            with self.subTest(**fields):
                self.assertIn(field, self.send("admin:accounts_user_issue_keys", selection, **{**plain, **fields}))

    def test_extending_and_rotating(self) -> None:
        selection = {key.pk: key.prefix for key in self.keys}
        for field, url, data in (
            ("expires_on", "extend", {"lifetime": "date", "expires_on": "2001-01-01"}),
            ("expires_on", "extend", {"lifetime": "date", "expires_on": "9999-12-31"}),
            ("lifetime", "extend", {"lifetime": "-7"}),
            ("lifetime", "extend", {}),
            ("grace", "rotate_selected", {"grace": "-1"}),
            ("grace", "rotate_selected", {"grace": "999999999"}),
            ("grace", "rotate_selected", {}),
            ("delivery", "rotate_selected", {"grace": "0", "delivery": "never"}),
        ):
            with self.subTest(url=url, **data):
                self.assertIn(field, self.send(f"admin:accounts_apikey_{url}", selection, **data))
