"""The page that decides recorded calls again: what it shows, and to whom."""

from django.contrib.auth.models import Permission
from django.urls import reverse

from accounts.models import CallRecord, User
from routing.models import Policy
from tests.admin.pages import row_url
from tests.admin.rows import SCRIPT
from tests.gateway.test_replay import START, ReplayTestCase


class Page(ReplayTestCase):
    def setUp(self) -> None:
        self.root = User.objects.create_superuser("root")
        self.client.force_login(self.root)
        self.url = reverse("admin:routing_replay", args=(self.policy.pk,))
        self.since = {"since": START.date().isoformat()}

    def test_it_shows_what_would_move_and_the_cost(self) -> None:
        call = self.call("你好", session_id=SCRIPT)
        self.call("请重构它")
        self.assertContains(self.client.get(row_url(self.policy)), self.url)
        self.assertNotContains(self.client.get(self.url), "Result")
        page = self.client.get(self.url, self.since)
        for text in ("up/big → up/small", "- → 闲聊", "0.04 USD → 0.022 USD", "0.02 USD → 0.002 USD", row_url(call)):
            self.assertContains(page, text)
        assert (page.context["totals"].calls, page.context["totals"].moved) == (2, 1)
        assert page.context["is_cut"] is False

    def test_the_calls_can_be_narrowed(self) -> None:
        self.call("你好")
        for query, calls in (({}, 1), ({"of": "old"}, 1), ({"of": "new"}, 0), ({"until": "2000-01-01"}, 0)):
            assert self.client.get(self.url, {**self.since, **query}).context["totals"].calls == calls, query
        page = self.client.get(self.url, {"since": "yesterday"})
        assert list(page.context["form"].errors) == ["since"]
        assert self.client.get(reverse("admin:routing_replay", args=(99999,))).status_code == 404
        # The ends of the calendar are none of a zone's.
        for query in ({"since": "0001-01-01"}, {**self.since, "until": "9999-12-31"}):
            assert self.client.get(self.url, query).context["form"].errors, query

    def test_names_and_refusals_are_escaped(self) -> None:
        self.call("你好", scene_name=SCRIPT, model_name=SCRIPT)
        self.call("你好", requested_model=SCRIPT)
        type(self.key).objects.update(allowed_models=["up/big"])
        page = self.client.get(self.url, self.since)
        self.assertNotContains(page, SCRIPT)
        self.assertContains(page, "&lt;script&gt;")
        assert page.context["totals"].refused == 2

    def test_it_needs_the_permission_to_see_policies_and_calls(self) -> None:
        needed = ["view_policy", "view_callrecord"]
        for number, missing in enumerate([*needed, None]):
            user = User.objects.create_user(f"user{number}", is_staff=True)
            user.user_permissions.add(
                *Permission.objects.filter(codename__in=[each for each in needed if each != missing])
            )
            self.client.force_login(user)
            assert self.client.get(self.url, self.since).status_code == (200 if missing is None else 403)
        assert not CallRecord.objects.exists()
        assert Policy.objects.count() == 2
