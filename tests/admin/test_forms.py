"""What can be entered in the admin, and by whom."""

from typing import Any

from django.contrib.auth.models import Permission
from django.db.models import Model as Model_
from django.http import HttpResponse
from django.urls import reverse

from accounts.models import Quota, Team, User
from providers.models import ConfigVersion, Model, Price, Provider
from routing.models import ModelAlias, Policy, Route, RuntimeSettings, Scene
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.admin.rows import POLICY_FIELDS, make_rows


class ModelPage(AdminTestCase):
    def post(self, model: Model, **fields: str) -> HttpResponse:
        data = {
            "provider": model.provider_id,
            "model_id": model.model_id,
            "flags": "{}",
            "token_ratio": "1.0",
            "is_enabled": "on",
            "prices-TOTAL_FORMS": "1",
            "prices-INITIAL_FORMS": "0",
            "prices-0-valid_from_0": "2026-02-01",
            "prices-0-valid_from_1": "00:00:00",
            "initial-prices-0-valid_from_0": "2026-02-01",
            "initial-prices-0-valid_from_1": "00:00:00",
        }
        return self.client.post(row_url(model), {**data, **fields})

    def test_a_new_price_is_appended_and_the_old_one_stays(self) -> None:
        make_rows(1)
        model = Model.objects.get()
        old = list(Price.objects.order_by("pk").values())
        response = self.post(
            model,
            **{
                "prices-0-currency": "CNY",
                "prices-0-input_per_million": "4",
                "prices-0-output_per_million": "12",
            },
        )
        self.assertEqual(
            response.status_code, 302, getattr(response, "context", None) and response.context.get("errors")
        )
        self.assertEqual(list(Price.objects.order_by("pk").values())[:2], old)
        new = Price.objects.latest("pk")
        self.assertEqual((new.currency, new.input_per_million, new.source), ("CNY", 4, "admin"))

    def add_price(self, **fields: str) -> Any:
        data = {
            "model": str(Model.objects.get().pk), "currency": "CNY", "input_per_million": "4",
            "output_per_million": "12", "valid_from_0": "2026-02-01", "valid_from_1": "00:00:00", "tiers": "",
        }  # fmt: skip
        return self.client.post("/admin/providers/price/add/", {**data, **fields})

    def test_a_price_with_tiers_and_hours_is_added_on_its_own_page(self) -> None:
        make_rows(1)
        tiers = '[{"above": 32000, "input": 6.1, "output": "24"}]'
        response = self.add_price(
            tiers=tiers,
            time_from="22:00",
            time_until="06:00",
            time_zone="Asia/Shanghai",
            cache_write_1h_per_million="8",
        )
        self.assertEqual(response.status_code, 302)
        new = Price.objects.latest("pk")
        self.assertEqual(new.tiers, [{"above": 32000, "input": "6.1", "output": "24"}])
        self.assertEqual((str(new.time_from), new.time_zone, new.source), ("22:00:00", "Asia/Shanghai", "admin"))
        page = self.client.get("/admin/providers/price/").content.decode()
        self.assertIn("above 32,000 tokens 6.1 / 24", page)
        self.assertIn("22:00–06:00 Asia/Shanghai", page)

    def test_tiers_are_entered_one_per_line(self) -> None:
        make_rows(1)
        text = "32,000: 6.1 / 24\r\n\r\n128000：8/30//10.5 / 12"
        self.assertEqual(self.add_price(tiers=text, currency="cny").status_code, 302)
        new = Price.objects.latest("pk")
        self.assertEqual(
            new.tiers,
            [
                {"above": 32000, "input": "6.1", "output": "24"},
                {"above": 128000, "input": "8", "output": "30", "cache_write": "10.5", "cache_write_1h": "12"},
            ],
        )
        self.assertEqual(new.currency, "CNY")
        for text in (
            "x",
            "32000",
            "32000: 6",
            "32000: 6 / x",
            "0: 1 / 2",
            "9: 1 / 2\n8: 1 / 2",
            "9: 1/2/3/4/5/6",
            "[1",
            "{}",
        ):
            with self.subTest(text=text):
                response = self.add_price(tiers=text)
                self.assertEqual(set(response.context["adminform"].form.errors), {"tiers"})
                self.assertContains(response, text)
        self.assertEqual(Price.objects.count(), 3)

    def test_what_is_wrong_with_a_price_is_said_at_its_field(self) -> None:
        make_rows(1)
        wrong = {
            "tiers": '[{"above": 1}]',
            "time_until": "",
            "input_per_million": "-1",
            "currency": "yuan",
        }
        response = self.add_price(**wrong, time_from="22:00")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(set(response.context["adminform"].form.errors), set(wrong))
        self.assertEqual(Price.objects.count(), 2)

    def test_an_existing_price_cannot_be_changed_by_a_forged_form(self) -> None:
        make_rows(1)
        model = Model.objects.get()
        price = Price.objects.earliest("pk")
        forged = {
            "prices-INITIAL_FORMS": "1",
            "prices-0-id": str(price.pk),
            "prices-0-model": str(model.pk),
            "prices-0-currency": "EUR",
            "prices-0-input_per_million": "999",
            "prices-0-output_per_million": "999",
            "prices-0-DELETE": "on",
        }
        self.post(model, **forged)
        price.refresh_from_db()
        self.assertEqual((price.currency, price.input_per_million), ("USD", 1))

    def test_capabilities_must_be_known(self) -> None:
        make_rows(1)
        model = Model.objects.get()
        for value, is_valid in (('["tools", "vision"]', True), ('["magic"]', False), ('"tools"', False), ("", True)):
            with self.subTest(value=value):
                response = self.post(model, capabilities=value)
                self.assertEqual(response.status_code == 302, is_valid)

    def test_unknown_capabilities_are_an_empty_field(self) -> None:
        make_rows(1)
        response = self.client.get(row_url(Model.objects.get()))
        self.assertEqual(response.context["adminform"].form["capabilities"].value(), "")
        self.assertNotContains(response, ">null<")

    def test_an_emptied_json_field_takes_its_default(self) -> None:
        make_rows(1)
        model = Model.objects.get()
        self.assertEqual(self.post(model, flags="").status_code, 302)
        model.refresh_from_db()
        self.assertEqual(model.flags, {})
        self.assertEqual(self.post(model, flags="[]").status_code, 200)


class Routing(AdminTestCase):
    def test_the_settings_list_leads_to_the_form_and_there_is_one_row(self) -> None:
        add = reverse("admin:routing_runtimesettings_add")
        # The sequence of the table has moved on; the row is still number one.
        RuntimeSettings.objects.create(pk=1).delete()
        self.assertRedirects(self.client.get(list_url(RuntimeSettings)), add)
        data = {
            "capture": "full",
            "capture_retention_days": "7",
            "capture_max_bytes": "1000",
            "business_time_zone": "Asia/Shanghai",
            "report_currency": "USD",
            "ping_interval_s": "10",
        }
        self.assertEqual(self.client.post(add, data).status_code, 302)
        row = RuntimeSettings.objects.get()
        self.assertEqual((row.pk, row.capture), (1, "full"))
        self.assertRedirects(self.client.get(list_url(RuntimeSettings)), row_url(row))
        self.assertEqual(self.client.get(add).status_code, 403)
        delete = reverse("admin:routing_runtimesettings_delete", args=(1,))
        self.assertEqual(self.client.post(delete, {"post": "yes"}).status_code, 403)
        bad = self.client.post(row_url(row), {**data, "business_time_zone": "Mars/Olympus"})
        self.assertContains(bad, "Mars/Olympus is not one of the available choices")

    def test_the_safety_model_is_chosen_and_taken_back(self) -> None:
        make_rows(2)
        model = Model.objects.order_by("pk")[1]
        row = RuntimeSettings.objects.create(pk=1)
        data = {
            "capture": "full",
            "capture_retention_days": "7",
            "capture_max_bytes": "1000",
            "business_time_zone": "UTC",
            "report_currency": "USD",
            "ping_interval_s": "10",
        }
        for value, chosen in ((str(model.pk), model), ("", None)):
            self.assertEqual(self.client.post(row_url(row), {**data, "safety_model": value}).status_code, 302)
            row.refresh_from_db()
            self.assertEqual(row.safety_model, chosen)
        RuntimeSettings.objects.filter(pk=1).update(safety_model=model)
        self.assertContains(self.client.get(row_url(row)), str(model))

    def test_a_route_is_saved_with_its_targets_and_their_weights_in_order(self) -> None:
        make_rows(2)
        first, second = Model.objects.order_by("pk")
        data = {
            "name": "everyday",
            "order": "weighted",
            "entries-TOTAL_FORMS": "2",
            "entries-INITIAL_FORMS": "0",
            "entries-0-position": "2",
            "entries-0-model": first.pk,
            "entries-0-weight": "1",
            "entries-1-position": "1",
            "entries-1-model": second.pk,
            "entries-1-weight": "3",
        }
        refused = self.client.post(reverse("admin:routing_route_add"), {**data, "entries-1-weight": "0"})
        self.assertContains(refused, "greater than or equal to 1")
        self.assertEqual(self.client.post(reverse("admin:routing_route_add"), data).status_code, 302)
        route = Route.objects.get(name="everyday")
        self.assertEqual(route.order, "weighted")
        self.assertEqual([(entry.model, entry.weight) for entry in route.entries.all()], [(second, 3), (first, 1)])
        self.assertContains(self.client.get(list_url(Route)), f"{second} → {first}")

    def test_a_route_in_use_by_intent_keeps_a_target(self) -> None:
        make_rows(2)
        route = Route.objects.first()
        assert route is not None
        entry, scene = route.entries.get(), Scene.objects.get(route=route)
        data = {
            "name": route.name,
            "order": "priority",
            "entries-TOTAL_FORMS": "2",
            "entries-INITIAL_FORMS": "1",
            "entries-0-id": entry.pk,
            "entries-0-position": "0",
            "entries-0-model": entry.model_id,
            "entries-0-weight": "1",
            "entries-0-DELETE": "on",
            "entries-1-position": "",
            "entries-1-model": "",
            "entries-1-weight": "1",
        }
        Policy.objects.filter(scenes=scene).update(mode="smart")
        self.assertContains(self.client.post(row_url(route), data), f"The scene {scene.name} of the policy")
        other = Model.objects.exclude(pk=entry.model_id).first()
        assert other is not None
        self.assertEqual(self.client.post(row_url(route), {**data, "entries-1-model": other.pk}).status_code, 302)
        self.assertEqual([each.model for each in route.entries.all()], [other])
        Policy.objects.filter(mode="smart").update(mode="direct")
        last = {**data, "entries-0-id": route.entries.get().pk, "entries-0-model": other.pk}
        self.assertEqual(self.client.post(row_url(route), last).status_code, 302)
        self.assertFalse(route.entries.exists())

    def test_the_default_moves_to_the_selected_row(self) -> None:
        make_rows(3)
        version = ConfigVersion.objects.get().number
        for model in (Policy, Scene):
            for row in model._default_manager.all()[:2]:
                self.client.post(list_url(model), {"action": "set_default", "_selected_action": [row.pk]})
                self.assertEqual(model._default_manager.get(is_default=True), row)
        self.assertGreater(ConfigVersion.objects.get().number, version)

    def test_the_default_scene_stays_enabled(self) -> None:
        make_rows(2)
        default, other = Scene.objects.all()
        for action, rows in (("set_default", [default.pk]), ("disable", [default.pk, other.pk])):
            self.client.post(list_url(Scene), {"action": action, "_selected_action": rows})
        self.assertEqual(list(Scene.objects.filter(is_enabled=True)), [default])

    def test_switching_a_provider_off_raises_the_config_version(self) -> None:
        make_rows(1)
        provider = Provider.objects.get()
        before = ConfigVersion.objects.get().number
        self.client.post(list_url(Provider), {"action": "disable", "_selected_action": [provider.pk]})
        provider.refresh_from_db()
        self.assertFalse(provider.is_enabled)
        self.assertGreater(ConfigVersion.objects.get().number, before)


class Forms(AdminTestCase):
    def errors(self, model: type[Model_], data: dict[str, str]) -> str:
        """Return the errors of adding a row, "" if it was added."""
        response = self.client.post(list_url(model) + "add/", data)
        return "" if response.status_code == 302 else str(response.context["errors"])

    def test_quotas(self) -> None:
        make_rows(1)
        team, user = Team.objects.get(), User.objects.exclude(pk=self.root.pk).get()
        quota = {
            "unit": "tokens",
            "window": "month",
            "limit": "1000",
            "currency": "USD",
            "action": "block",
            "is_active": "on",
        }
        self.assertEqual(self.errors(Quota, {**quota, "team": str(team.pk)}), "")
        self.assertEqual(self.errors(Quota, {**quota, "user": str(user.pk), "action": "downgrade"}), "")
        cases = (
            ({}, "Choose one of team, user and key."),
            ({"team": str(team.pk), "user": str(user.pk)}, "Choose one of team, user and key."),
            ({"user": str(user.pk), "limit": "-5"}, "greater than or equal to 0"),
            ({"user": str(user.pk), "limit": "abc"}, "Enter a number."),
            ({"user": str(user.pk), "action": "upgrade"}, "not one of the available choices"),
            ({"team": str(team.pk)}, "This quota is there already: team text0: 1,000 tokens / month."),
        )
        for change, message in cases:
            with self.subTest(change=change):
                self.assertIn(message, self.errors(Quota, {**quota, **change}))

    def test_aliases(self) -> None:
        make_rows(1)
        model, route = str(Model.objects.get().pk), str(Route.objects.get().pk)
        alias = {"pattern": "claude-haiku-*", "position": "0"}
        self.assertIn("Choose one of", self.errors(ModelAlias, alias))
        self.assertIn("Choose one of", self.errors(ModelAlias, {**alias, "model": model, "route": route}))
        self.assertEqual(self.errors(ModelAlias, {**alias, "model": model}), "")
        self.assertIn("already exists", self.errors(ModelAlias, {**alias, "route": route}))

    def test_the_first_policy_is_the_default(self) -> None:
        make_rows(1)
        Policy.objects.all().update(is_default=False)
        policy = {
            "mode": "direct",
            "route": str(Route.objects.get().pk),
            **POLICY_FIELDS,
        }
        self.assertEqual(self.errors(Policy, {**policy, "name": "first"}), "")
        self.assertEqual(self.errors(Policy, {**policy, "name": "second"}), "")
        self.assertEqual(Policy.objects.get(is_default=True).name, "first")
        self.assertIn("route", self.errors(Policy, {**policy, "name": "third", "route": ""}))


class Permissions(AdminTestCase):
    def test_actions_need_the_permission_to_change(self) -> None:
        make_rows(1)
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
        self.client.force_login(viewer)
        provider = Provider.objects.get()
        for action in ("test_connection", "refresh_models", "disable"):
            self.client.post(list_url(Provider), {"action": action, "_selected_action": [provider.pk]})
        provider.refresh_from_db()
        self.assertTrue(provider.is_enabled)
        self.assertIsNone(provider.checked_at)

    def test_a_helper_cannot_make_himself_or_take_over_a_superuser(self) -> None:
        helper = User.objects.create_user("helper", is_staff=True)
        names = ["view_user", "change_user", "add_user", "view_all_teams"]
        helper.user_permissions.add(*Permission.objects.filter(codename__in=names))
        self.client.force_login(helper)
        self.assertEqual(self.client.post(row_url(self.root), {"username": "mine"}).status_code, 403)
        password = reverse("admin:auth_user_password_change", args=(self.root.pk,))
        self.assertEqual(self.client.get(password).status_code, 403)
        friend = User.objects.create_user("friend")
        for user in (helper, friend):
            data = {"username": user.username, "email": "new@example.com", "is_superuser": "on", "is_staff": "on"}
            self.assertEqual(self.client.post(row_url(user), data).status_code, 302)
            user.refresh_from_db()
            self.assertEqual((user.email, user.is_superuser), ("new@example.com", False))
        self.assertFalse(friend.is_staff)
        self.client.post(list_url(User), {"action": "deactivate", "_selected_action": [self.root.pk]})
        self.root.refresh_from_db()
        self.assertTrue(self.root.is_active)

    def test_anonymous_visitors_get_the_login_page(self) -> None:
        make_rows(1)
        self.client.logout()
        for model in (Provider, Team, RuntimeSettings, User):
            with self.subTest(model=model.__name__):
                response = self.client.get(list_url(model))
                self.assertRedirects(response, f"{reverse('admin:login')}?next={list_url(model)}")
