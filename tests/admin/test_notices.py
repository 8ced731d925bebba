"""The pages of notification channels: addresses and secrets go in and never come out."""

from typing import Any

from django.contrib.auth.models import Permission
from django.core import mail
from django.http import HttpResponse
from django.test import override_settings
from django.urls import reverse

from accounts.models import AuditEntry, Notification, NotificationChannel, Team, User
from accounts.notices import events
from routing.models import RuntimeSettings
from tests.accounts.notices.robots import URLS, channel
from tests.admin.pages import AdminTestCase, list_url, row_url

ADD = reverse("admin:accounts_notificationchannel_add")
SECRET = "SECverysecret0123"
FACTS = {"month": "2026-10", "files": ["a.csv"]}


def text(response: Any) -> str:
    return str(response.content.decode())


class Channels(AdminTestCase):
    def post(self, page: str = ADD, /, **fields: Any) -> Any:
        data = {"name": "ops", "kind": "dingtalk", "url": URLS["dingtalk"], "is_enabled": "on", **fields}
        response = self.client.post(page, {name: value for name, value in data.items() if value is not None})
        return self.client.get(response["location"]) if response.status_code == 302 else response

    def problems(self, **fields: Any) -> str:
        response = self.post(**fields)
        self.assertFalse(NotificationChannel.objects.exists())
        form = response.context["adminform"].form
        return " ".join(message for messages in form.errors.values() for message in messages)

    def test_address_and_secret_are_stored_encrypted_and_no_page_shows_them(self) -> None:
        team = Team.objects.create(name="platform")
        self.post(secret=SECRET, team=str(team.pk), events=["quota_exhausted", "key_flagged"], language="zh-hans")
        row = NotificationChannel.objects.get()
        self.assertEqual((row.url(), row.secret(), row.url_host), (URLS["dingtalk"], SECRET, "oapi.dingtalk.com"))
        self.assertEqual((row.events, row.language), (["quota_exhausted", "key_flagged"], "zh-hans"))
        self.assertNotIn("0123456789abcdef", row.encrypted_url)
        for url in (row_url(row), list_url(NotificationChannel), row_url(row).replace("change", "history")):
            page = text(self.client.get(url))
            for secret in ("0123456789abcdef", SECRET, row.encrypted_url, row.encrypted_secret):
                self.assertNotIn(secret, page)
        page = text(self.client.get(row_url(row)))
        self.assertIn("oapi.dingtalk.com …cdef", page)
        self.assertIn("…0123", page)

    def test_empty_fields_keep_what_is_stored_and_the_box_removes_the_secret(self) -> None:
        self.post(secret=SECRET)
        row = NotificationChannel.objects.get()
        self.post(row_url(row), url="", name="other")
        row.refresh_from_db()
        self.assertEqual((row.name, row.url(), row.secret()), ("other", URLS["dingtalk"], SECRET))
        self.post(row_url(row), url="", removes_secret="on")
        row.refresh_from_db()
        self.assertEqual((row.encrypted_secret, row.secret_last_four), ("", ""))

    def test_what_was_entered_is_not_shown_again_after_an_error(self) -> None:
        page = text(self.post(name="", secret=SECRET))
        self.assertNotIn("0123456789abcdef", page)
        self.assertNotIn(SECRET, page)

    def test_what_cannot_work_is_refused(self) -> None:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"url": ""}, "Enter the address that the platform gave the robot."),
            ({"url": "ftp://x.example/a"}, "Enter the whole address of the robot, with https://."),
            ({"url": "oapi.dingtalk.com/robot"}, "Enter the whole address of the robot, with https://."),
            ({"url": "http://oapi.dingtalk.com/robot"}, "Use https: the address itself is a secret."),
            ({"url": "https://127.0.0.1/x"}, "This is a private address."),
            ({"url": "https://2130706433/x"}, "This is a private address."),
            ({"url": "https://me:word@x.example/"}, "Leave user and password out of the URL."),
            ({"url": "https://x.example:99999/"}, "This is not a URL."),
            ({"url": "https://x.example/" + "a" * 1000}, "Enter the whole address"),
            ({"kind": "slack", "url": URLS["slack"], "secret": SECRET}, "Channels of this kind sign nothing"),
            ({"kind": "email", "url": ""}, "Enter at least one e-mail address."),
            (
                {"kind": "email", "url": "", "recipients": "a@example.com\nnobody"},
                "Line 2: “nobody” is no e-mail address.",
            ),
            ({"kind": "email", "recipients": "a@example.com"}, "A mail has recipients, no URL."),
            ({"events": ["nonsense"]}, "Select a valid choice"),
            ({"language": "fr"}, "Select a valid choice"),
            ({"secret": SECRET, "removes_secret": "on"}, "Either enter a secret or remove the stored one."),
        ]
        for fields, message in cases:
            with self.subTest(fields=fields):
                self.assertIn(message, self.problems(**fields))

    def test_an_address_that_is_refused_is_not_missing_too(self) -> None:
        problems = self.problems(url="http://127.0.0.1:9/hook")
        self.assertIn("This is a private address.", problems)
        self.assertNotIn("Enter the address", problems)
        self.assertIn("Enter the address", self.problems(url=""))

    def test_a_private_address_needs_its_leave_also_later(self) -> None:
        self.post(kind="webhook", url="http://127.0.0.1:9000/in", allow_private_network="on")
        row = NotificationChannel.objects.get()
        self.assertEqual(row.url_host, "127.0.0.1")
        page = text(self.post(row_url(row), kind="webhook", url=""))
        self.assertIn("This is a private address.", page)
        row.refresh_from_db()
        self.assertTrue(row.allow_private_network)

    def test_another_host_than_usual_is_a_hint_and_no_ban(self) -> None:
        self.assertIn("Robots of DingTalk are usually at", text(self.post(url="https://proxy.example/dt")))
        self.assertEqual(NotificationChannel.objects.get().url_host, "proxy.example")

    def test_a_channel_that_becomes_mail_forgets_address_and_secret(self) -> None:
        self.post(secret=SECRET)
        row = NotificationChannel.objects.get()
        page = text(self.post(row_url(row), kind="email", url="", recipients="a@example.com, b@example.com"))
        row.refresh_from_db()
        self.assertEqual(row.recipients, "a@example.com\nb@example.com")
        self.assertEqual((row.encrypted_url, row.url_host, row.encrypted_secret), ("", "", ""))
        self.assertIn("No mail server is set up (EMAIL_URL)", page)

    def test_one_who_may_only_look_sees_no_form(self) -> None:
        row = channel("dingtalk", secret=SECRET)
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(*_permissions("view_notificationchannel", "view_notification", "view_all_teams"))
        self.client.force_login(viewer)
        page = self.client.get(row_url(row))
        self.assertEqual(page.status_code, 200)
        for secret in ("0123456789abcdef", SECRET):
            self.assertNotIn(secret, text(page))
        self.assertNotIn("send_test", text(self.client.get(list_url(NotificationChannel))))
        self.assertNotIn("try_again", text(self.client.get(list_url(Notification))))

    @override_settings(MAIL_IS_SET_UP=True)
    def test_a_test_message_is_reported_per_channel(self) -> None:
        good = channel("email", name="good", recipients="a@example.com")
        bad = channel("webhook", name="bad")
        bad.set_url("https://127.0.0.1:9/x", "127.0.0.1")
        bad.save()
        response: Any = self.act(NotificationChannel, "send_test", good.pk, bad.pk)
        self.assertIn("The channel good took the test message.", text(response))
        self.assertIn("The channel bad failed: the URL is a private address", text(response))
        self.assertEqual(len(mail.outbox), 1)
        bad.refresh_from_db()
        self.assertIn("private", bad.last_error)
        notes = AuditEntry.objects.filter(action=AuditEntry.Action.OTHER).values_list("object_name", "note")
        self.assertEqual(set(notes), {("good", "Sent a test message."), ("bad", "Sent a test message.")})
        self.assertFalse(Notification.objects.exists())

    def act(self, model: Any, action: str, *pks: int) -> HttpResponse:
        data = {"action": action, "_selected_action": [str(pk) for pk in pks]}
        return self.client.post(list_url(model), data, follow=True)  # type: ignore[return-value]

    def test_channels_are_switched_off_and_on(self) -> None:
        row = channel()
        for action, expected in (("disable", False), ("enable", True)):
            self.act(NotificationChannel, action, row.pk)
            row.refresh_from_db()
            self.assertEqual(row.is_enabled, expected)

    def test_what_was_given_up_is_sent_again_and_what_was_sent_is_not(self) -> None:
        row = channel()
        made = {
            status: Notification.objects.create(
                channel=row, event=events.MONTHLY_EXPORT, occasion=status, content=FACTS, status=status, attempts=7
            )
            for status in ("failed", "sent")
        }
        response = self.act(Notification, "try_again", *(each.pk for each in made.values()))
        self.assertIn("1 message is sent again.", text(response))
        stored = Notification.objects.order_by("occasion").values_list("occasion", "status", "attempts")
        self.assertEqual(list(stored), [("failed", "pending", 0), ("sent", "sent", 7)])
        self.assertEqual(AuditEntry.objects.get(note="Sent again.").object_id, str(made["failed"].pk))

    def test_the_page_of_a_message_shows_its_text_and_the_list_no_event_that_was_handed_out(self) -> None:
        row = Notification.objects.create(
            channel=channel(), event=events.MONTHLY_EXPORT, occasion="shown", content=FACTS
        )
        Notification.objects.create(event=events.MONTHLY_EXPORT, occasion="x", content=FACTS, status="sent")
        waiting = Notification.objects.create(event=events.QUOTA_WARNING, occasion="y", content={"quota_id": 1})
        self.assertIn("2026-10 was exported", text(self.client.get(row_url(row))))
        self.assertEqual(self.client.get(row_url(waiting)).status_code, 200)
        page = self.client.get(list_url(Notification))
        self.assertEqual(page.context["cl"].result_count, 2)
        filtered = self.client.get(list_url(Notification), {"event": events.MONTHLY_EXPORT})
        self.assertEqual(filtered.context["cl"].result_count, 1)

    def test_mails_to_people_are_switched_in_the_settings(self) -> None:
        row = RuntimeSettings.objects.create(pk=1)
        self.assertIn('name="mails_people"', text(self.client.get(row_url(row))))


def _permissions(*names: str) -> Any:
    return Permission.objects.filter(codename__in=names)
