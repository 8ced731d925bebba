"""The pages of a call and of what was kept of it."""

import json
import re
import uuid
from datetime import timedelta
from decimal import Decimal
from unittest import mock

from django.contrib.auth.models import Permission
from django.db import connection
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Attempt, CallRecord, Team, User
from gateway.admin.books.captures import readable_body
from gateway.models import Capture
from providers.models import Provider
from tests.admin.pages import AdminTestCase
from tests.admin.rows import NOW, make_call, make_key, stage

LIST = "admin:accounts_callrecord_changelist"
PAGE = "admin:accounts_callrecord_change"


class CallTestCase(AdminTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.key = make_key(cls.root, "laptop")

    def listed(self, **query: str) -> list[CallRecord]:
        response = self.client.get(reverse(LIST), query)
        self.assertEqual(response.status_code, 200, query)
        return list(response.context["cl"].result_list)


class Page(CallTestCase):
    def test_a_safety_call_shows_its_kind_and_the_call_that_it_is_for(self) -> None:
        main = make_call(self.key)
        inner = make_call(self.key, kind="safety", decision={"for": main.request_id})
        response = self.client.get(reverse(PAGE, args=(inner.pk,)))
        self.assertContains(response, '<div class="readonly">safety check</div>', html=True)
        self.assertContains(response, main.request_id)

    def test_it_shows_target_attempts_decision_and_cost(self) -> None:
        call = make_call(
            self.key,
            provider_name="backup",
            model_name="big",
            decision={"why": "默认策略", "skipped": [{"target": "main/big", "reason": "cooldown"}]},
            dropped_fields=["context_management"],
            cost=Decimal("0.5"),
            currency="CNY",
            reference_cost=None,
            session_id="session-1",
        )
        for position, (provider, outcome) in enumerate((("main", "overloaded"), ("backup", "ok"))):
            Attempt.objects.create(
                call=call,
                position=position,
                provider_name=provider,
                model_name="big",
                outcome=outcome,
                started_at=NOW,
                duration_ms=position,
            )
        response = self.client.get(reverse(PAGE, args=(call.pk,)))
        for text in (
            call.request_id,
            "backup/big",
            "overloaded",
            "默认策略",
            "context_management",
            "0.50 CNY",
            "unknown",
        ):
            with self.subTest(text=text):
                self.assertContains(response, text)
        self.assertContains(response, "session_id=session-1")
        self.assertContains(response, "nothing was kept")
        self.assertNotContains(response, 'name="_save"')

    def test_a_running_call_has_a_page(self) -> None:
        call = make_call(self.key, status="running", settled_at=None, http_status=None)
        self.assertContains(self.client.get(reverse(PAGE, args=(call.pk,))), "running")

    def test_it_leads_to_the_capture(self) -> None:
        call = make_call(self.key)
        Capture.objects.create(call=call, expires_at=NOW, **dict.fromkeys(STAGES, b""))
        url = reverse("admin:gateway_capture_change", args=(call.pk,))
        self.assertContains(self.client.get(reverse(PAGE, args=(call.pk,))), f'href="{url}"')


class List(CallTestCase):
    def test_search_by_what_people_have_in_hand(self) -> None:
        session = str(uuid.uuid4())
        ann = User.objects.create_user("ann")
        wanted = make_call(
            make_key(ann, "workstation"),
            session_id=session,
            provider_name="main",
            model_name="big/7b",
            requested_model="m1",
        )
        make_call(self.key)
        for term in (
            wanted.request_id,
            str(wanted.pk),
            wanted.pk.hex.upper(),
            session,
            "AN",
            "work",
            "main/big/7b",
            "big/7b",
            "m1",
        ):
            with self.subTest(term=term):
                self.assertEqual(self.listed(q=term), [wanted])
        self.assertEqual(self.listed(q="req_" + "0" * 32), [])
        self.assertEqual(len(self.listed(q="  ")), 2)

    def test_a_name_is_not_looked_for_as_a_model_in_all_calls(self) -> None:
        make_key(User.objects.create_user("ann"), "workstation")
        for term, is_looked_for in (("ann", False), ("workstation", False), ("m1", True)):
            with self.subTest(term=term), CaptureQueriesContext(connection) as context:
                self.listed(q=term)
            found = any('"requested_model" =' in query["sql"] for query in context.captured_queries)
            self.assertEqual(found, is_looked_for)

    def test_filters(self) -> None:
        team = Team.objects.create(name="platform")
        Provider.objects.create(name="main", kind="ollama")
        wanted = make_call(self.key, status="failed", provider_name="main", team=team, http_status=502)
        make_call(self.key, provider_name="gone", started_at=NOW - timedelta(days=400))
        for query in (
            {"status__exact": "failed"},
            {"provider_name": "main"},
            {"team__id__exact": str(team.pk)},
            {"started_at__gte": "2026-01-01 00:00:00+00:00"},
        ):
            with self.subTest(query=query):
                self.assertEqual(self.listed(**query), [wanted])
        for query in ({"user__id__exact": str(self.root.pk)}, {"key__id__exact": str(self.key.pk)}):
            with self.subTest(query=query):
                self.assertEqual(len(self.listed(**query)), 2)

    def test_of_many_people_the_sidebar_offers_the_chosen_one_only(self) -> None:
        people = [User.objects.create_user(f"person{number}") for number in range(4)]
        for most, offered in ((10, 4), (3, 0)):
            with self.subTest(most=most), mock.patch("gateway.admin_scope.ScopedRelatedFilter.most", most):
                page = self.client.get(reverse(LIST)).content.decode()
                self.assertEqual(len(set(re.findall(r"\?user__id__exact=(\d+)", page)) - {str(self.root.pk)}), offered)
                chosen = self.client.get(reverse(LIST), {"user__id__exact": str(people[2].pk)}).content.decode()
                self.assertRegex(chosen, r'class="selected">\s*<a [^>]*>person2</a>')
        with mock.patch("gateway.admin_scope.ScopedRelatedFilter.most", 3):
            self.client.get(reverse(LIST), {"user__id__exact": "no id"})

    def test_failed_calls_do_not_look_like_good_ones(self) -> None:
        colours = {}
        for status in ("ok", "failed"):
            call = make_call(self.key, status=status)
            page = self.client.get(reverse(PAGE, args=(call.pk,))).content.decode()
            colours[status] = page.split('<b style="color:')[1].split('"')[0]
        self.assertNotEqual(colours["ok"], colours["failed"])

    def test_the_newest_is_first(self) -> None:
        calls = [make_call(self.key, started_at=NOW + timedelta(minutes=minute)) for minute in (1, 3, 2)]
        self.assertEqual(self.listed(), [calls[1], calls[2], calls[0]])


STAGES = ("client_request", "upstream_request", "upstream_response", "client_response")


class CapturePage(CallTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.call = make_call(self.key)
        self.request_body = '{"messages":[{"role":"user","content":"\\u4f60\\u597d <b>"}],"n":1.0}'
        self.capture = Capture.objects.create(
            call=self.call,
            client_request=stage(self.request_body, method="POST", url="/v1/messages?beta=true"),
            upstream_request=stage(None, headers={"authorization": "***"}, bytes=12),
            upstream_response=stage('data: {"x":"\\u4e2d"}\n\ndata: [DONE]\n\n', status=200),
            client_response=b"no zlib",
            expires_at=NOW,
        )
        self.url = reverse("admin:gateway_capture_change", args=(self.call.pk,))

    def test_it_shows_the_four_stages_readably(self) -> None:
        page = self.client.get(self.url).content.decode()
        for text in (
            "POST /v1/messages?beta=true",
            "&quot;content&quot;: &quot;你好 &lt;b&gt;&quot;",
            "&quot;n&quot;: 1.0",
            "authorization: ***",
            "The body was not kept.",
            "12 bytes",
            "data: {&quot;x&quot;:&quot;中&quot;}\n\ndata: [DONE]",
            "This stage cannot be read.",
            call_url(self.call),
        ):
            with self.subTest(text=text):
                self.assertIn(text, page)

    def test_a_long_body_is_folded(self) -> None:
        Capture.objects.update(client_request=stage("a" * 30_000, truncated=True), upstream_request=b"")
        page = self.client.get(self.url).content.decode()
        self.assertIn("<details><summary>Body</summary>", page)
        self.assertIn("30,000 bytes, cut", page)
        self.assertIn("Nothing was kept of this stage.", page)

    def test_half_a_surrogate_pair_does_not_break_the_page(self) -> None:
        body = json.dumps({"a": "\ud800"})
        Capture.objects.update(client_request=stage(body), upstream_request=stage("\udc80"))
        self.assertContains(self.client.get(self.url), "\\ud800")

    def body_url(self, name: str) -> str:
        return reverse("admin:gateway_capture_body", args=(self.call.pk, name))

    def test_a_body_can_be_downloaded_as_it_was(self) -> None:
        response = self.client.get(self.body_url("client_request"))
        self.assertEqual(response.content.decode(), self.request_body)
        self.assertEqual(response["content-type"], "text/plain; charset=utf-8")
        self.assertTrue(response["content-disposition"].startswith("attachment"))
        for name in ("upstream_request", "call", "expires_at", "client_response"):
            self.assertEqual(self.client.get(self.body_url(name)).status_code, 404, name)

    def test_attempts_and_captures_are_found_by_their_call(self) -> None:
        other = make_call(self.key)
        for call in (self.call, other):
            Attempt.objects.create(
                call=call,
                position=0,
                provider_name="main",
                model_name="big",
                outcome="ok",
                started_at=NOW,
                duration_ms=1,
            )
        for name in ("accounts_attempt", "gateway_capture"):
            with self.subTest(page=name):
                response = self.client.get(reverse(f"admin:{name}_changelist"), {"q": self.call.request_id})
                self.assertEqual([row.call for row in response.context["cl"].result_list], [self.call])

    def test_captures_need_their_own_permission(self) -> None:
        reader = User.objects.create_user("reader", is_staff=True)
        reader.user_permissions.add(*Permission.objects.filter(codename__in=["view_callrecord", "view_all_teams"]))
        self.client.force_login(reader)
        self.assertEqual(self.client.get(reverse(PAGE, args=(self.call.pk,))).status_code, 200)
        for url in (self.url, self.body_url("client_request"), reverse("admin:gateway_capture_changelist")):
            self.assertEqual(self.client.get(url).status_code, 403, url)


def call_url(call: CallRecord) -> str:
    return reverse(PAGE, args=(call.pk,))


class Readable(SimpleTestCase):
    def test_bodies(self) -> None:
        cases = {
            "": "",
            "plain 文字": "plain 文字",
            "{}": "{}",
            '{"a":[],"b":{}}': '{\n  "a": [],\n  "b": {}\n}',
            '{"a":[1,2.50,1e-7,null]}': '{\n  "a": [\n    1,\n    2.50,\n    1e-7,\n    null\n  ]\n}',
            '{"a":1,"a":2}': '{\n  "a": 1,\n  "a": 2\n}',
            '["127.0.0.1:26000, {x}"]': '[\n  "127.0.0.1:26000, {x}"\n]',
            '["\\u4f60\\u597d \\ud83d\\ude00"]': '[\n  "你好 😀"\n]',
            '["\\ud800 \\u0022 \\\\u4f60 \\u000a"]': '[\n  "\\ud800 \\u0022 \\\\u4f60 \\u000a"\n]',
            'event: ping\ndata: {"a": "\\u4e2d"}\n\n': 'event: ping\ndata: {"a": "中"}\n',
            '{"cut": "of': '{"cut": "of',
        }
        for body, expected in cases.items():
            with self.subTest(body=body):
                self.assertEqual(readable_body(body), expected)

    def test_what_is_shown_is_the_same_json(self) -> None:
        values = ["\\", '"', "\n", "\u2028", "中", "😀", {"": [[], {}, [{}]]}, -0.0, 10**30, True, None]
        body = json.dumps(values)
        self.assertEqual(json.loads(readable_body(body)), values)

    def test_deep_nesting_is_left_as_it_is(self) -> None:
        body = "[" * 100_000
        self.assertEqual(readable_body(body), body)
