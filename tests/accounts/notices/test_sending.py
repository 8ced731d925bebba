"""Sending what is in the outbox: once, again after failures, and without telling the secrets."""

import threading
from datetime import timedelta
from typing import Any
from unittest import skipUnless

import httpx
import pytest
from django.core import mail
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from accounts.models import Notification, NotificationChannel
from accounts.notices import delivery, events, outbox, sending
from accounts.notices.delivery import masked, secrets_of
from accounts.notices.events import Event
from routing.models import RuntimeSettings
from tests.accounts.notices.robots import GOOD, URLS, Robots, channel

EXPORT = Event(events.MONTHLY_EXPORT, "export:2026-10", {"month": "2026-10", "files": ["a.csv"]})
KEY = "0123456789abcdef"  # in each URL
START = timezone.now() + timedelta(hours=1)  # everything written meanwhile is due


class Sending(TestCase):
    def tell(self, occasion: str = "export:2026-10") -> None:
        outbox.tell([Event(EXPORT.kind, occasion, EXPORT.facts)])

    def message(self) -> Notification:
        return Notification.objects.exclude(channel=None, recipient="").get()

    def test_each_platform_gets_its_format_and_the_channel_notes_it(self) -> None:
        for kind in URLS:
            channel(kind, secret="SEC0123456789ab" if kind not in ("wecom", "slack") else "")
        self.tell()
        robots = Robots()
        self.assertEqual(sending.send_due(START, robots), len(URLS))
        self.assertEqual(
            {request.url.host for request in robots.requests}, {url.split("/")[2] for url in URLS.values()}
        )
        self.assertEqual({request.method for request in robots.requests}, {"POST"})
        feishu = next(body for body in robots.bodies() if "card" in body)
        self.assertIn("sign", feishu)
        program = next(body for body in robots.bodies() if "facts" in body)
        self.assertEqual((program["event"], program["facts"]), (EXPORT.kind, EXPORT.facts))
        self.assertEqual(set(Notification.objects.values_list("status", flat=True)), {Notification.Status.SENT})
        self.assertEqual(set(NotificationChannel.objects.values_list("last_sent_at", flat=True)), {START})
        self.assertEqual(sending.send_due(START, robots), 0)
        self.assertEqual(len(robots.requests), len(URLS))

    def test_an_occasion_is_told_once_however_often_it_is_noticed(self) -> None:
        channel()
        robots = Robots()
        for _ in range(3):
            self.tell()
            sending.send_due(START, robots)
        self.assertEqual(len(robots.requests), 1)

    def test_nothing_to_send_costs_one_query(self) -> None:
        with self.assertNumQueries(1):
            self.assertEqual(sending.send_due(), 0)

    def test_failures_are_tried_again_ever_more_rarely_and_then_given_up(self) -> None:
        row = channel()
        self.tell()
        robots = Robots(lambda request: (500, "oops"))
        now, pauses = START, []
        with self.assertLogs("accounts.notices.sending", "WARNING") as logs:
            while sending.send_due(now, robots):
                message = self.message()
                if message.status == Notification.Status.FAILED:
                    break
                pauses.append((message.next_try_at - now).total_seconds())
                self.assertEqual(sending.send_due(message.next_try_at - timedelta(seconds=1), robots), 0)
                now = message.next_try_at
        self.assertEqual(pauses, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600])
        message = self.message()
        self.assertEqual((message.attempts, message.error), (10, "500: oops"))
        row.refresh_from_db()
        self.assertEqual(row.last_error, "500: oops")
        self.assertNotIn(KEY, "".join(logs.output))
        self.assertEqual(sending.send_due(now + timedelta(days=1), robots), 0)

    def test_a_refusal_with_status_200_is_a_failure_and_a_rate_limit_pauses_longer(self) -> None:
        channel("dingtalk")
        self.tell()
        answers = iter([(200, '{"errcode":410100,"errmsg":"too fast"}'), (200, GOOD["dingtalk"])])
        robots = Robots(lambda request: next(answers))
        with self.assertLogs("accounts.notices.sending", "WARNING"):
            sending.send_due(START, robots)
        self.assertEqual(self.message().next_try_at, START + timedelta(minutes=10))
        self.assertEqual(self.message().error, "410100: too fast")
        sending.send_due(START + timedelta(minutes=10), robots)
        self.assertEqual((self.message().status, self.message().error), (Notification.Status.SENT, ""))
        self.assertEqual(NotificationChannel.objects.get().last_error, "")

    def test_errors_and_logs_show_neither_url_nor_secret(self) -> None:
        row = channel("dingtalk", secret="SECverysecret0")
        self.tell()
        with self.assertLogs(level="DEBUG") as logs:
            sending.send_due(START, Robots(lambda request: (403, f"no {request.url} SECverysecret0")))
            cases = [httpx.ConnectError(f"cannot reach {URLS['dingtalk']}"), httpx.ReadTimeout("slow")]
            for number, error in enumerate(cases):
                self.tell(f"export:{number}")
                robots = Robots(lambda request, error=error: error)
                sending.send_due(START + timedelta(seconds=number + 1), robots)
        row.refresh_from_db()
        shown = [row.last_error, *Notification.objects.values_list("error", flat=True), *logs.output]
        self.assertGreater(len([text for text in shown if text]), 3)
        for secret in (KEY, "SECverysecret0"):
            self.assertNotIn(secret, " ".join(shown))

    def test_a_private_address_is_refused_unless_the_channel_allows_it(self) -> None:
        row = channel("webhook")
        for url in ("http://127.0.0.1:9/x", "http://localhost/x", "http://169.254.169.254/latest"):
            row.set_url(url, "x")
            row.save()
            self.assertIn("private", sending.send_test(row, Robots()))
        row.allow_private_network = True
        self.assertEqual(sending.send_test(row, Robots(lambda request: (200, ""))), "")

    def test_redirects_are_not_followed(self) -> None:
        row = channel("webhook")
        robots = Robots(lambda request: (302, ""))
        self.assertIn("302", sending.send_test(row, robots))
        self.assertEqual(len(robots.requests), 1)

    def test_a_claimed_row_is_left_alone_until_the_lease_ends(self) -> None:
        channel()
        self.tell()

        class Killed(BaseException):
            pass

        with self.assertRaises(Killed):
            sending.send_due(START, Robots(lambda request: Killed()))
        robots = Robots()
        self.assertEqual(sending.send_due(START + sending.LEASE - timedelta(seconds=1), robots), 0)
        self.assertEqual(sending.send_due(START + sending.LEASE, robots), 1)
        self.assertEqual((self.message().status, self.message().attempts), (Notification.Status.SENT, 2))

    def test_an_error_of_ours_with_one_message_leaves_the_others_sent(self) -> None:
        channel("slack")
        channel("webhook")
        self.tell()

        def answer(request: httpx.Request) -> Any:
            return RuntimeError(f"bug at {KEY}") if request.url.host == "ops.example" else (200, "ok")

        with self.assertLogs("accounts.notices", "WARNING") as logs:
            sending.send_due(START, Robots(answer))
        self.assertIn("in handle_async_request", "".join(logs.output))
        self.assertNotIn(KEY, "".join(logs.output))
        stored = Notification.objects.exclude(channel=None).order_by("channel__kind")
        self.assertEqual(list(stored.values_list("status", "error")), [("sent", ""), ("pending", "RuntimeError")])

    def test_a_row_of_another_version_is_given_up_and_the_others_go_out(self) -> None:
        row = channel()
        self.tell()
        Notification.objects.create(channel=row, event="unheard", occasion="x", content=["what"])
        robots = Robots()
        with self.assertLogs("accounts.notices.sending", "ERROR"):
            sending.send_due(START, robots)
        self.assertEqual(len(robots.requests), 1)
        self.assertEqual(Notification.objects.get(event="unheard").status, Notification.Status.FAILED)

    def test_a_late_outcome_does_not_overwrite_that_of_another_worker(self) -> None:
        channel()
        self.tell()
        sending._distribute(sending._claim(START), START)
        [mine] = sending._claim(START)
        sending._claim(START + sending.LEASE)
        with self.assertLogs("accounts.notices.sending", "WARNING"):
            sending._book(sending._Parcel(mine, sending.Verdict("late")), START + sending.LEASE)
        self.assertEqual(self.message().error, "")

    def test_a_channel_that_was_switched_off_gets_nothing_more(self) -> None:
        row = channel()
        self.tell()
        sending._distribute(sending._claim(START), START)
        NotificationChannel.objects.filter(pk=row.pk).update(is_enabled=False)
        robots = Robots()
        with self.assertLogs("accounts.notices.sending", "WARNING"):
            sending.send_due(START, robots)
        self.assertEqual((robots.requests, self.message().status), ([], Notification.Status.FAILED))

    def test_a_secret_of_another_encryption_key_says_so(self) -> None:
        row = channel()
        NotificationChannel.objects.filter(pk=row.pk).update(encrypted_url="gAAAAAb")
        self.tell()
        with self.assertLogs("accounts.notices.sending", "WARNING"):
            sending.send_due(START, Robots())
        self.assertIn("decrypted", self.message().error)

    def test_sent_and_given_up_rows_are_deleted_after_90_days(self) -> None:
        now = timezone.now()
        for days, status in ((91, "sent"), (91, "failed"), (91, "pending"), (89, "sent")):
            Notification.objects.create(
                event="test", occasion=f"{days}{status}", status=status, created_at=now - timedelta(days=days)
            )
        outbox.purge(now)
        self.assertEqual(set(Notification.objects.values_list("occasion", flat=True)), {"91pending", "89sent"})


@override_settings(MAIL_IS_SET_UP=True, DEFAULT_FROM_EMAIL="gateway@example.com")
class Mails(TestCase):
    def test_a_channel_mails_all_its_recipients_in_its_language(self) -> None:
        channel("email", recipients="a@example.com\nb@example.com", language="zh-hans")
        outbox.tell([EXPORT])
        sending.send_due(START)
        [sent] = mail.outbox
        self.assertEqual((sent.to, sent.from_email), (["a@example.com", "b@example.com"], "gateway@example.com"))
        self.assertTrue(sent.subject.startswith("[Wolfgate] "))
        self.assertIn("a.csv", str(sent.body))
        self.assertEqual(sent.extra_headers["Auto-Submitted"], "auto-generated")

    def test_a_line_break_in_a_name_makes_no_header(self) -> None:
        channel("email", recipients="a@example.com")
        outbox.tell([Event(EXPORT.kind, "x", {"month": "2026\nBcc: evil@example.com", "files": []})])
        sending.send_due(START)
        self.assertNotIn("\n", mail.outbox[0].subject)
        self.assertEqual(mail.outbox[0].recipients(), ["a@example.com"])

    def test_without_a_mail_server_the_row_says_so(self) -> None:
        channel("email", recipients="a@example.com")
        outbox.tell([EXPORT])
        with override_settings(MAIL_IS_SET_UP=False), self.assertLogs("accounts.notices.sending", "WARNING"):
            sending.send_due(START)
        self.assertEqual(mail.outbox, [])
        row = Notification.objects.exclude(channel=None).get()
        self.assertEqual(row.error, "No mail server is set up (EMAIL_URL).")

    @override_settings(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", EMAIL_HOST="127.0.0.1", EMAIL_PORT=9
    )
    def test_a_server_that_is_away_fails_all_and_hangs_nothing(self) -> None:
        for number in range(3):
            channel("email", name=f"mail{number}", recipients="a@example.com")
        outbox.tell([EXPORT])
        with self.assertLogs("accounts.notices.sending", "WARNING"):
            sending.send_due(START)
        errors = Notification.objects.exclude(channel=None).values_list("error", flat=True)
        self.assertEqual(len(errors), 3)
        self.assertTrue(all("refused" in error for error in errors), errors)


@override_settings(MAIL_IS_SET_UP=True)
def test_mails_of_a_batch_stop_when_the_server_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 60.0, 121.0])
    monkeypatch.setattr(delivery.time, "monotonic", lambda: next(moments))
    one = delivery.Mail(("a@example.com",), events.Message("t", (), "info"))
    verdicts = list(delivery.mail_all([one] * 4))
    assert [verdict.error for verdict in verdicts] == ["", "", *["the mail server is too slow"] * 2]


class TwoWorkers(TransactionTestCase):
    """With real transactions and threads, as two workers are."""

    def test_two_workers_at_the_same_moment_tell_and_send_once(self) -> None:
        RuntimeSettings.objects.create(pk=1)
        for number in range(8):
            channel(name=f"c{number}")
        robots, barrier = Robots(), threading.Barrier(4)
        tried: list[int] = []

        def work() -> None:
            try:
                barrier.wait()
                outbox.tell([EXPORT])
                barrier.wait()
                for _ in range(5):
                    tried.append(sending.send_due(transport=robots))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sending.send_due(transport=robots)
        self.assertEqual(Notification.objects.filter(channel=None).count(), 1)
        self.assertEqual(len(robots.requests), 8)
        self.assertEqual(set(Notification.objects.values_list("status", "attempts")), {("sent", 1)})

    @skipUnless(connection.vendor == "postgresql", "SQLite knows no locks of rows")
    def test_rows_that_another_worker_claims_are_skipped(self) -> None:
        channel()
        outbox.tell([EXPORT])
        with transaction.atomic():
            list(Notification.objects.select_for_update())
            claimed: list[int] = []

            def other() -> None:
                try:
                    claimed.append(len(sending._claim(timezone.now())))
                finally:
                    connections.close_all()

            thread = threading.Thread(target=other)
            thread.start()
            thread.join(10)
        self.assertEqual(claimed, [0])


def test_secrets_of_an_address_are_its_key_in_any_form() -> None:
    found = secrets_of("https://h.example/hook/abcdefgh-1?access_token=tok%2Ben12345&v=1", "s3cret-s3cret")
    text = masked("at /hook/abcdefgh-1, tok+en12345, access_token=tok%2Ben12345&v=1 and s3cret-s3cret\nv=1", found)
    assert text == "at /hook/***, ***, *** and *** v=1"
