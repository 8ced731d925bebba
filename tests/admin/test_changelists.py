"""Every list and page of the admin: it answers, its number of queries does not grow, and it escapes what it shows."""

from django.apps import apps
from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import Model as Model_
from django.http import HttpRequest
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Attempt, CallRecord, KeyNetwork, Quota, QuotaWindow, Team, UsageDaily, User, Worker
from gateway.admin.routing.entries import EntryAdmin
from gateway.admin_base import CappedPaginator, LedgerAdmin, ModelAdmin
from gateway.models import Capture
from providers.models import ConfigVersion, Model, Provider
from routing.models import ModelAlias, Policy, Route, RouteEntry, RuntimeSettings, Scene
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.admin.rows import SCRIPT, make_call, make_key, make_rows

OURS = [
    model
    for label in ("providers", "routing", "accounts", "gateway")
    for model in apps.get_app_config(label).get_models()
]
LEDGER = [CallRecord, Attempt, UsageDaily, QuotaWindow, Worker, Capture, KeyNetwork]


class Registration(AdminTestCase):
    def test_every_model_but_the_version_has_a_page_of_our_base(self) -> None:
        missing = {model for model in OURS if not isinstance(admin.site._registry.get(model), ModelAdmin)}
        self.assertEqual(missing, {ConfigVersion})

    def test_every_list_says_what_it_shows_searches_and_filters(self) -> None:
        for model in OURS:
            page = admin.site._registry.get(model)
            if page is None:
                continue
            with self.subTest(model=model.__name__):
                self.assertNotEqual(tuple(page.list_display), ("__str__",))
                self.assertTrue(page.search_fields)
                self.assertTrue(page.list_filter)
                self.assertIsInstance(page.list_select_related, tuple, "named, not left to chance")
                self.assertTrue(page.ordering or model._meta.ordering)

    def test_the_site_is_called_wolfgate(self) -> None:
        self.assertContains(self.client.get(reverse("admin:index")), "Wolfgate")


class Lists(AdminTestCase):
    maxDiff = None

    # Session, user, settings (the time zone), count, rows and then: the filters' choices, prefetches. Pinned so that a
    # new column or filter that queries per row, or a full count, is noticed.
    QUERIES = {
        "Provider": 6,
        "Credential": 7,
        "Model": 8,
        "Price": 8,
        "ExchangeRate": 8,
        "Route": 7,
        "RouteEntry": 8,
        "ClassifierEntry": 8,
        "Scene": 8,
        "Policy": 8,
        "ModelAlias": 8,
        "Team": 8,
        "User": 8,
        "ApiKey": 8,
        "KeyNetwork": 6,
        "Quota": 7,
        "CallRecord": 10,
        "Attempt": 6,
        "UsageDaily": 9,
        "QuotaRaise": 7,
        "QuotaWindow": 6,
        "Worker": 6,
        "Capture": 6,
        "AuditEntry": 6,
        "KeyHandover": 6,
        "Correction": 6,
        "ClosedMonth": 5,
        "MonthlyExport": 5,
        "Invoice": 6,
        "InvoiceLine": 5,
        "NotificationChannel": 7,
        "Notification": 5,
    }

    def queries(self, model: type[Model_]) -> int:
        with CaptureQueriesContext(connection) as context:
            response = self.client.get(list_url(model))
        self.assertEqual(response.status_code, 200)
        return len(context)

    def test_the_number_of_queries_does_not_grow_with_the_rows(self) -> None:
        make_rows(2)
        few = {model.__name__: self.queries(model) for model in OURS if model.__name__ in self.QUERIES}
        make_rows(10)
        many = {model.__name__: self.queries(model) for model in OURS if model.__name__ in self.QUERIES}
        self.assertEqual(few, many)
        self.assertEqual(many, self.QUERIES)

    def test_pages_of_rows_do_not_query_per_entry(self) -> None:
        make_rows(12)
        route = Route.objects.first()
        few = self._queries_of(row_url(route))
        for position, model in enumerate(Model.objects.exclude(route_entries__route=route)):
            RouteEntry.objects.create(route=route, model=model, position=position + 1)
        # Each of the eleven further rows looks its chosen model up for its auto-completing field, once.
        self.assertLessEqual(self._queries_of(row_url(route)), few + 2 * 11)

    def _queries_of(self, url: str) -> int:
        with CaptureQueriesContext(connection) as context:
            self.assertEqual(self.client.get(url).status_code, 200)
        return len(context)

    def test_each_search_finds_nothing_strange(self) -> None:
        make_rows(1)
        for model in OURS:
            if model not in (ConfigVersion, RuntimeSettings):
                with self.subTest(model=model.__name__):
                    response = self.client.get(list_url(model), {"q": "no such thing"})
                    self.assertEqual(response.context["cl"].result_count, 0)


class Escaping(AdminTestCase):
    def test_no_page_renders_a_script_that_somebody_stored(self) -> None:
        make_rows(1, SCRIPT)
        RuntimeSettings.objects.create(pk=1)
        for model in OURS:
            if model is ConfigVersion:
                continue
            row = (
                model._default_manager.exclude(pk=self.root.pk).first()
                if model is User
                else model._default_manager.first()
            )
            pages = [list_url(model), row_url(row)]
            rows = admin.site._registry[model]
            if rows.has_delete_permission(self._request()) and not isinstance(rows, EntryAdmin):
                pages.append(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_delete", args=(row.pk,)))
            for page in pages:
                with self.subTest(page=page):
                    response = self.client.get(page, follow=True)
                    self.assertEqual(response.status_code, 200)
                    self.assertNotContains(response, SCRIPT)
        for page in (
            list_url(CallRecord),
            list_url(Team),
            row_url(CallRecord.objects.get()),
            row_url(Capture.objects.get()),
        ):
            # The test would prove nothing if the text were not there at all.
            self.assertContains(self.client.get(page), "&lt;script&gt;alert(1)&lt;/script&gt;")

    def _request(self) -> HttpRequest:
        request = self.client.get(reverse("admin:index")).wsgi_request
        request.user = self.root
        return request

    def test_messages_of_actions_are_escaped(self) -> None:
        make_rows(1, SCRIPT)
        scene = Scene.objects.get()
        response = self.client.post(
            list_url(Scene), {"action": "set_default", "_selected_action": [scene.pk]}, follow=True
        )
        self.assertContains(response, "is the default")
        self.assertNotContains(response, SCRIPT)


class Ledger(AdminTestCase):
    def test_the_books_can_be_read_and_nothing_else(self) -> None:
        make_rows(1)
        for model in LEDGER:
            row = model._default_manager.first()
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            with self.subTest(model=model.__name__):
                page = admin.site._registry[model]
                self.assertIsInstance(page, LedgerAdmin)
                self.assertFalse(page.show_full_result_count)
                self.assertEqual(self.client.get(row_url(row)).status_code, 200)
                self.assertEqual(self.client.get(reverse(f"{name}_add")).status_code, 403)
                self.assertEqual(self.client.post(row_url(row), {}).status_code, 403)
                self.assertEqual(
                    self.client.post(reverse(f"{name}_delete", args=(row.pk,)), {"post": "yes"}).status_code, 403
                )
                self.assertNotContains(self.client.get(list_url(model)), 'name="action"')

    def test_the_first_filter_is_the_date(self) -> None:
        for model in LEDGER:
            first = admin.site._registry[model].list_filter[0]
            with self.subTest(model=model.__name__):
                self.assertTrue(str(first).endswith(("_at", "date")), first)

    def test_the_count_stops_at_the_cap(self) -> None:
        key = make_key(self.root, "laptop")
        for _number in range(6):
            make_call(key)

        class Small(CappedPaginator):
            cap = 5

        rows = CallRecord.objects.order_by("-started_at")
        paginator = Small(rows, 2)
        self.assertEqual((paginator.count, paginator.num_pages, paginator.is_capped), (5, 3, True))
        self.assertEqual(Paginator(rows, 2).count, 6)
        paginator = Small(rows[:4], 2)
        self.assertEqual((paginator.count, paginator.is_capped), (4, False))
        with CaptureQueriesContext(connection) as context:
            Small(rows, 2).count  # noqa: B018
        self.assertIn("LIMIT 6", context[0]["sql"])

    def test_a_capped_list_says_so(self) -> None:
        key = make_key(self.root, "laptop")
        for _number in range(3):
            make_call(key)
        self.assertNotContains(self.client.get(list_url(CallRecord)), "There are more rows")
        cap, CappedPaginator.cap = CappedPaginator.cap, 2
        self.addCleanup(setattr, CappedPaginator, "cap", cap)
        self.assertContains(self.client.get(list_url(CallRecord)), "There are more rows; the first 2 are listed.")


class Permanence(AdminTestCase):
    def test_people_teams_keys_and_quotas_cannot_be_deleted(self) -> None:
        make_rows(1)
        key_model = apps.get_model("accounts", "ApiKey")
        for model in (User, Team, key_model, Quota):
            row = model._default_manager.last()
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            with self.subTest(model=model.__name__):
                self.assertEqual(
                    self.client.post(reverse(f"{name}_delete", args=(row.pk,)), {"post": "yes"}).status_code, 403
                )
                self.client.post(
                    list_url(model), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
                )
                self.assertTrue(model._default_manager.filter(pk=row.pk).exists())

    def test_rows_are_deactivated_and_activated(self) -> None:
        make_rows(2)
        for model in (Team, Quota, User):
            rows = model._default_manager.exclude(pk=self.root.pk) if model is User else model._default_manager.all()
            pks = list(rows.values_list("pk", flat=True))
            for action, expected in (("deactivate", False), ("activate", True)):
                with self.subTest(model=model.__name__, action=action):
                    self.client.post(list_url(model), {"action": action, "_selected_action": pks})
                    self.assertEqual(set(rows.values_list("is_active", flat=True)), {expected})

    def test_nobody_deactivates_himself(self) -> None:
        self.client.post(list_url(User), {"action": "deactivate", "_selected_action": [self.root.pk]})
        self.root.refresh_from_db()
        self.assertTrue(self.root.is_active)

    def test_a_provider_goes_with_its_prices_unless_a_route_needs_its_models(self) -> None:
        make_rows(1)
        provider = Provider.objects.get()
        url = reverse("admin:providers_provider_delete", args=(provider.pk,))
        self.assertContains(self.client.get(url), "would require deleting the following protected")
        RouteEntry.objects.all().delete()
        ModelAlias.objects.all().delete()
        Policy.scenes.through.objects.all().delete()
        apps.get_model("routing", "KindRule")._default_manager.all().delete()
        for name in ("Capture", "Attempt"):
            apps.get_model("gateway" if name == "Capture" else "accounts", name)._default_manager.all().delete()
        Policy.objects.update(reference_model=None)
        apps.get_model("routing", "ClassifierEntry")._default_manager.all().delete()
        self.client.post(url, {"post": "yes"})
        self.assertFalse(Provider.objects.exists())
