"""The pages of what the workers learnt: readable, to be reset by whoever may, and by nobody else."""

from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.utils import timezone

from accounts.models import User
from providers.errors import ErrorKind, UpstreamError
from providers.models import Provider
from routing import health_rows
from routing.health import Health
from routing.models import TargetHealth
from tests.accounts.books import target
from tests.admin.pages import AdminTestCase, list_url, row_url


class HealthPages(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        Provider.objects.create(name="main", kind="openai_compatible", base_url="https://main.example/v1")
        Provider.objects.create(name="fine", kind="openai_compatible", base_url="https://fine.example/v1")
        self.worker = Health()
        self.worker.failed(
            target("main/big"),
            "one",
            UpstreamError(ErrorKind.RATE_LIMITED, "慢一点", status=429, retry_after_s=90, provider="main"),
        )
        health_rows.write(self.worker)
        self.row = TargetHealth.objects.get()

    def reset(self, *rows: TargetHealth) -> None:
        data = {"action": "reset", "_selected_action": [row.pk for row in rows]}
        self.client.post(list_url(TargetHealth), data)

    def test_the_list_says_what_is_cooling_why_and_until_when(self) -> None:
        response = self.client.get(list_url(TargetHealth))
        for text in ("main/big", "one", "cooling", "rate_limited 429", "慢一点"):
            self.assertContains(response, text)
        self.assertRegex(response.content.decode(), r"in (8\d|90) seconds")
        TargetHealth.objects.update(cooling_until=timezone.now() + timedelta(minutes=9))
        self.assertContains(self.client.get(list_url(TargetHealth)), "in 9 minutes")
        TargetHealth.objects.update(cooling_until=timezone.now() - timedelta(seconds=1))
        self.assertContains(self.client.get(list_url(TargetHealth)), "with the next call")
        self.assertContains(self.client.get(row_url(self.row)), "rate_limited 429")

    def test_what_is_cooling_stands_first_and_can_be_filtered(self) -> None:
        TargetHealth.objects.create(provider_name="a", model_name="healthy-one", ttft_ms=1234.5)
        TargetHealth.objects.create(provider_name="b", credential_name="two", failures=1)
        TargetHealth.objects.create(provider_name="c", failures=1)
        content = self.client.get(list_url(TargetHealth)).content.decode()
        places = [content.index(text) for text in ("main/big", "a/healthy-one", "b, all models", "c as a whole")]
        self.assertEqual(places, sorted(places))
        self.assertIn("1,234", content)
        for state, count in (("cooling", 1), ("trial", 2), ("healthy", 1)):
            response = self.client.get(list_url(TargetHealth), {"state": state})
            self.assertEqual(response.context["cl"].result_count, count, state)

    def test_a_reset_reaches_the_workers_and_is_in_the_log(self) -> None:
        self.reset(self.row)
        self.row.refresh_from_db()
        self.assertEqual((self.row.failures, self.row.cooling_until), (0, None))
        health_rows.read(self.worker)
        self.assertEqual(self.worker.cooling(), [])
        entry = LogEntry.objects.get()
        self.assertEqual((entry.user, entry.object_id, entry.change_message), (self.root, str(self.row.pk), "Reset."))

    def test_who_may_only_look_cannot_reset(self) -> None:
        viewer = User.objects.create(username="viewer", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_targethealth"))
        self.client.force_login(viewer)
        response = self.client.get(list_url(TargetHealth))
        self.assertContains(response, "main/big")
        self.assertNotContains(response, "Reset:")
        self.reset(self.row)
        self.row.refresh_from_db()
        self.assertEqual(self.row.failures, 1)
        self.assertFalse(LogEntry.objects.exists())

    def test_rows_are_neither_added_nor_edited_nor_deleted(self) -> None:
        for path in (list_url(TargetHealth) + "add/", row_url(self.row).replace("/change/", "/delete/")):
            self.assertEqual(self.client.get(path).status_code, 403)
        self.client.post(row_url(self.row), {"failures": 0})
        self.row.refresh_from_db()
        self.assertEqual(self.row.failures, 1)

    def test_a_provider_shows_that_something_of_it_is_cooling(self) -> None:
        response = self.client.get(list_url(Provider))
        self.assertContains(response, "1 cooling", count=1)
        self.assertContains(response, "provider_name=main&amp;state=cooling")
        self.assertContains(self.client.get(row_url(Provider.objects.get(name="main"))), "1 cooling")
        self.assertNotContains(self.client.get(row_url(Provider.objects.get(name="fine"))), "1 cooling")
