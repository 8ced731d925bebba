"""A recorded call becomes an example of a scene: whose words, when it is refused, and what is masked."""

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from accounts.models import CallRecord, User
from gateway.admin.books.call_examples import redacted
from gateway.models import Capture
from providers.models import ConfigVersion
from routing.models import Route, Scene
from tests.admin.pages import AdminTestCase, row_url
from tests.admin.rows import SCRIPT, make_call, make_key, stage

REMINDER = "<system-reminder>\nNever mention this.\n</system-reminder>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use sk-proj-0123456789abcdefghij please", "use *** please"),
        ("key wg_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "key ***"),
        ("login with password=hunter2-xyz now", "login with password=*** now"),
        ("密码：hunter2-xyz，然后", "密码：***，然后"),
        ('{"api_key": "abc-123-def"}', '{"api_key": "***"}'),
        ("Authorization: Bearer abcdef-123456", "Authorization: Bearer ***"),
        ("postgres://app:s3cret@db/main", "postgres://app:***@db/main"),
        ("a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb", "a\n***\nb"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "***"),
        # Words about secrets are no secrets.
        ("explain the token bucket algorithm", "explain the token bucket algorithm"),
        ("why does the password field lose focus?", "why does the password field lose focus?"),
        ("令牌桶算法是什么", "令牌桶算法是什么"),
    ],
)
def test_secrets_are_masked(text: str, expected: str) -> None:
    assert redacted(text) == expected


class Examples(AdminTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        route = Route.objects.create(name="everyday")
        text = "What this scene is for."
        cls.code = Scene.objects.create(name="写代码", description=text, route=route, examples=["写一个类"])
        cls.chat = Scene.objects.create(name="Chat", description=text, route=route, examples=["Hello"])
        cls.key = make_key(cls.root, "laptop")

    def call(self, content: Any, *, wire_format: str = "anthropic", **fields: Any) -> CallRecord:
        call = make_call(self.key, scene_name="写代码", wire_format=wire_format)
        body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": content}]}
        self.capture(call, json.dumps(body), **fields)
        return call

    def capture(self, call: CallRecord, body: str | None, **fields: Any) -> None:
        Capture.objects.create(
            call=call,
            client_request=stage(body, **fields),
            upstream_request=b"",
            upstream_response=b"",
            client_response=b"",
            is_full=body is not None,
            expires_at=timezone.now(),
        )

    def url(self, call: CallRecord) -> str:
        return reverse("admin:accounts_callrecord_example", args=(call.pk,))

    def test_the_words_are_shown_for_review_and_added(self) -> None:
        call = self.call(
            [{"type": "text", "text": REMINDER}, {"type": "text", "text": "写一个解析日期的函数，password=hunter2-xyz"}]
        )
        self.assertContains(self.client.get(row_url(call)), self.url(call))
        page = self.client.get(self.url(call))
        self.assertContains(page, "写一个解析日期的函数，password=***")
        self.assertNotContains(page, "hunter2")
        self.assertNotContains(page, "Never mention this")
        assert page.context["form"].initial["scene"] == self.code
        assert Scene.objects.get(pk=self.code.pk).examples == ["写一个类"]  # a look changes nothing
        version = ConfigVersion.objects.get().number
        response = self.client.post(
            self.url(call), {"scene": self.chat.pk, "text": " 写一个解析日期的函数 "}, follow=True
        )
        self.assertRedirects(response, row_url(call))
        self.chat.refresh_from_db()
        assert self.chat.examples == ["Hello", "写一个解析日期的函数"]
        assert ConfigVersion.objects.get().number > version
        assert call.request_id in LogEntry.objects.get().change_message

    def test_what_is_an_example_already_is_refused(self) -> None:
        call = self.call("hello")
        for scene in (self.chat, self.code):
            page = self.client.post(self.url(call), {"scene": scene.pk, "text": "  hello\n"})
            self.assertContains(page, "The scene Chat has this example already.")
        assert Scene.objects.get(pk=self.chat.pk).examples == ["Hello"]

    def test_clients_of_openai_are_read_as_well(self) -> None:
        call = make_call(self.key, wire_format="openai")
        self.capture(call, json.dumps({"model": "m", "messages": [{"role": "user", "content": "Write a test"}]}))
        self.assertContains(self.client.get(self.url(call)), "Write a test")
        call = make_call(self.key, wire_format="responses")
        self.capture(call, json.dumps({"model": "m", "input": "Write another"}))
        self.assertContains(self.client.get(self.url(call)), "Write another")

    def test_without_the_words_it_says_why(self) -> None:
        result = {"type": "tool_result", "tool_use_id": "t", "content": "output"}
        cases: list[tuple[CallRecord, str]] = [(make_call(self.key), "Nothing was kept of this call.")]
        bare = make_call(self.key)
        self.capture(bare, None)
        cases.append((bare, "no text was kept"))
        cases.append((self.call("Hello", truncated=True), "The kept request is cut"))
        broken = make_call(self.key)
        self.capture(broken, '{"messages": [')
        cases.append((broken, "not one that can be read"))
        cases.append((self.call([result]), "holds no words of the user"))
        for call, reason in cases:
            with self.subTest(reason=reason):
                page = self.client.get(self.url(call))
                self.assertContains(page, reason)
                self.assertNotContains(page, "<textarea")
                self.client.post(self.url(call), {"scene": self.chat.pk, "text": "forced"})
        assert Scene.objects.get(pk=self.chat.pk).examples == ["Hello"]

    def test_the_words_are_escaped(self) -> None:
        page = self.client.get(self.url(self.call(SCRIPT)))
        self.assertNotContains(page, SCRIPT)
        self.assertContains(page, "&lt;script&gt;alert(1)&lt;/script&gt;")

    def test_it_needs_the_permission_to_see_prompts_and_to_change_scenes(self) -> None:
        call = self.call("Hello there")
        needed = ["view_callrecord", "view_capture", "change_scene"]
        for number, missing in enumerate([*needed, None]):
            user = User.objects.create_user(f"user{number}", is_staff=True)
            given = ["view_all_teams", *(each for each in needed if each != missing)]
            user.user_permissions.add(*Permission.objects.filter(codename__in=given))
            self.client.force_login(user)
            status = 200 if missing is None else 403
            assert self.client.get(self.url(call)).status_code == status, missing
            assert self.client.post(self.url(call), {}).status_code == status, missing
            if missing not in (None, "view_callrecord"):
                self.assertNotContains(self.client.get(row_url(call)), self.url(call))
        self.client.logout()
        assert self.client.get(self.url(call)).status_code == 302
