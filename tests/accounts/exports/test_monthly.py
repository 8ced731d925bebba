"""The export of a month: made once, complete or not at all, tried again, and sent."""

import gzip
import shutil
import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

from django.core import mail
from django.core.management import CommandError, call_command
from django.test import TestCase, override_settings
from openpyxl import load_workbook

from accounts.exports import monthly
from accounts.exports.monthly import DEAD_AFTER, MAX_ATTEMPTS, run_due, write_month
from accounts.models import AuditEntry, ClosedMonth, MonthlyExport, Notification, Team, UsageDaily, User
from routing.models import RuntimeSettings
from tests.accounts.books import person

NOW = datetime(2026, 12, 2, 8, tzinfo=UTC)
NOVEMBER = date(2026, 11, 1)
_LOCMEM = "django.core.mail.backends.locmem.EmailBackend"


class MonthlyCase(TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        overridden = override_settings(EXPORT_DIR=self.folder, MAIL_IS_SET_UP=True, EMAIL_BACKEND=_LOCMEM)
        overridden.enable()
        self.addCleanup(overridden.disable)
        self.settings_row = RuntimeSettings.objects.create(pk=1, monthly_export_enabled=True)
        key = person("dev1", Team.objects.create(name="R&D / 平台"))[0]
        UsageDaily.objects.create(
            date=date(2026, 11, 3),
            key=key,
            user=key.user,
            team=key.user.team,
            provider_name="main",
            model_name="big",
            currency="USD",
            calls=2,
            cost=Decimal("1.5"),
        )

    def change(self, **fields: Any) -> None:
        RuntimeSettings.objects.filter(pk=1).update(**fields)

    def row(self) -> MonthlyExport:
        return MonthlyExport.objects.get()


class Monthly(MonthlyCase):
    def test_the_files_are_complete_and_only_the_owner_may_read_them(self) -> None:
        run_due(NOW)
        folder = self.folder / "2026-11"
        names = sorted(path.name for path in folder.iterdir())
        team = Team.objects.get().pk
        self.assertEqual(
            names,
            [
                "calls-2026-11.csv.gz",
                "focus-2026-11.csv.gz",
                f"statement-2026-11-{team}-R-D-平台.html",
                "usage-2026-11.xlsx",
            ],
        )
        self.assertEqual({path.stat().st_mode & 0o777 for path in folder.iterdir()}, {0o600})
        self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
        self.assertIn(b"BilledCost", gzip.decompress((folder / names[1]).read_bytes()))
        self.assertEqual(load_workbook(folder / names[3]).sheetnames[0], "Teams")
        self.assertEqual(sorted(self.row().files), [f"2026-11/{name}" for name in names])
        self.assertEqual([path.name for path in self.folder.iterdir()], ["2026-11"])
        entry = AuditEntry.objects.filter(action=AuditEntry.Action.OTHER).get()
        self.assertEqual(entry.object_type, "accounts.monthlyexport")

    def test_it_is_made_once(self) -> None:
        run_due(NOW)
        run_due(NOW + timedelta(hours=2))
        row = self.row()
        self.assertEqual((row.status, row.attempts, row.error), ("done", 1, ""))
        self.assertIsNotNone(row.finished_at)

    def test_it_is_made_and_sent_again_when_the_month_was_closed_after_it(self) -> None:
        self.change(monthly_export_recipients="fin@example.com")
        run_due(NOW)
        UsageDaily.objects.update(calls=3)
        ClosedMonth.objects.create(month=NOVEMBER)
        ClosedMonth.objects.update(closed_at=NOW + timedelta(days=4))
        for hours in (0, 1, 24):
            run_due(NOW + timedelta(days=4, hours=hours, minutes=10))
        row = self.row()
        self.assertEqual((row.status, row.attempts, row.recipients), ("done", 1, ["fin@example.com"]))
        self.assertEqual(len(mail.outbox), 2)
        focus = gzip.decompress((self.folder / "2026-11" / "focus-2026-11.csv.gz").read_bytes()).decode()
        self.assertIn(",3,", focus)
        occasions = set(Notification.objects.values_list("occasion", flat=True))
        self.assertEqual(occasions, {"export:2026-11:2026-12-02", "export:2026-11:2026-12-06"})

    def test_it_waits_for_the_second_day_of_the_business_time_zone_and_for_the_switch(self) -> None:
        run_due(datetime(2026, 12, 1, 23, tzinfo=UTC))
        self.assertFalse(MonthlyExport.objects.exists())
        self.change(monthly_export_enabled=False)
        run_due(NOW)
        self.assertFalse(MonthlyExport.objects.exists())
        self.change(monthly_export_enabled=True, business_time_zone="Asia/Shanghai")
        run_due(datetime(2026, 12, 1, 23, tzinfo=UTC))
        self.assertEqual(self.row().month, NOVEMBER)

    def test_one_that_is_running_is_left_alone_until_it_must_have_died(self) -> None:
        MonthlyExport.objects.create(month=NOVEMBER, started_at=NOW, attempts=1)
        run_due(NOW + DEAD_AFTER - timedelta(minutes=1))
        self.assertEqual(self.row().status, "running")
        run_due(NOW + DEAD_AFTER)
        self.assertEqual((self.row().status, self.row().attempts), ("done", 2))

    def test_a_failure_is_written_down_and_tried_again_later_and_later(self) -> None:
        (self.folder / "file").write_text("")
        with override_settings(EXPORT_DIR=self.folder / "file" / "below"), self.assertLogs("accounts.exports.monthly"):
            run_due(NOW)
        row = self.row()
        self.assertEqual((row.status, row.attempts), ("failed", 1))
        self.assertIn("NotADirectoryError", row.error)
        MonthlyExport.objects.update(finished_at=NOW)
        run_due(NOW + timedelta(minutes=9))
        self.assertEqual(self.row().status, "failed")
        run_due(NOW + timedelta(minutes=10))
        self.assertEqual((self.row().status, self.row().attempts, self.row().error), ("done", 2, ""))

    def test_the_channels_are_told_of_the_first_failure_and_of_the_success(self) -> None:
        (self.folder / "file").write_text("")
        with override_settings(EXPORT_DIR=self.folder / "file" / "below"), self.assertLogs("accounts.exports.monthly"):
            for hours in (0, 1):
                run_due(NOW + timedelta(hours=hours))
                MonthlyExport.objects.update(finished_at=NOW)
        run_due(NOW + timedelta(hours=9))
        failed, done = Notification.objects.order_by("pk")
        self.assertEqual((failed.event, failed.occasion), ("monthly_export", "export:2026-11:failed"))
        self.assertIn("NotADirectoryError", failed.content["error"])
        self.assertEqual((done.occasion, done.content["files"]), ("export:2026-11:2026-12-02", self.row().files))
        self.assertNotIn("error", done.content)

    def test_one_that_another_process_took_over_is_not_told(self) -> None:
        export = MonthlyExport.objects.create(month=NOVEMBER, started_at=NOW, attempts=1)
        MonthlyExport.objects.update(attempts=2)
        monthly._finish(export, MonthlyExport.Status.FAILED, "lost")
        self.assertFalse(Notification.objects.exists())

    def test_it_is_given_up_after_some_attempts(self) -> None:
        MonthlyExport.objects.create(
            month=NOVEMBER, started_at=NOW, finished_at=NOW, status="failed", attempts=MAX_ATTEMPTS
        )
        run_due(NOW + timedelta(days=9))
        self.assertEqual(self.row().status, "failed")

    def test_it_is_sent_to_each_recipient_in_a_language_that_one_of_them_reads(self) -> None:
        User.objects.create(username="cfo", email="b@example.com", language="zh-hans")
        self.change(monthly_export_recipients="a@example.com\nb@example.com")
        run_due(NOW)
        self.assertEqual([message.to for message in mail.outbox], [["a@example.com"], ["b@example.com"]])
        self.assertEqual(len(mail.outbox[0].attachments), 4)
        self.assertIn("2026-11", mail.outbox[0].subject)
        self.assertEqual(self.row().recipients, ["a@example.com", "b@example.com"])
        content = (self.folder / "2026-11" / "calls-2026-11.csv.gz").read_bytes()
        self.assertIn("团队", gzip.decompress(content).decode())

    def test_large_files_stay_in_the_folder_and_the_mail_says_where(self) -> None:
        self.addCleanup(setattr, monthly, "MAX_ATTACHED_BYTES", monthly.MAX_ATTACHED_BYTES)
        monthly.MAX_ATTACHED_BYTES = 10
        self.change(monthly_export_recipients="a@example.com")
        run_due(NOW)
        (message,) = mail.outbox
        self.assertEqual(message.attachments, [])
        self.assertIn(str(self.folder / "2026-11"), message.body)

    def test_without_a_mail_server_the_row_says_so(self) -> None:
        self.change(monthly_export_recipients="a@example.com")
        with override_settings(MAIL_IS_SET_UP=False):
            run_due(NOW)
        self.assertEqual(self.row().status, "done")
        self.assertIn("EMAIL_URL", self.row().error)

    def test_when_only_the_mail_failed_the_files_are_not_made_again(self) -> None:
        self.change(monthly_export_recipients="a@example.com")
        with override_settings(EMAIL_BACKEND="tests.accounts.exports.test_monthly.Unreachable"), self.assertLogs():
            run_due(NOW)
        self.assertEqual((self.row().status, self.row().recipients), ("failed", []))
        made = (self.folder / "2026-11").stat().st_ino
        MonthlyExport.objects.update(finished_at=NOW)
        run_due(NOW + timedelta(hours=1))
        self.assertEqual((self.row().status, self.row().recipients), ("done", ["a@example.com"]))
        self.assertEqual((self.folder / "2026-11").stat().st_ino, made)

    def test_a_run_that_was_taken_over_does_not_end_the_other_one(self) -> None:
        export = MonthlyExport.objects.create(month=NOVEMBER, started_at=NOW, attempts=1)
        MonthlyExport.objects.update(attempts=2)
        self.assertFalse(monthly._finish(export, MonthlyExport.Status.DONE, ""))
        self.assertEqual(self.row().status, "running")

    def test_a_folder_that_is_there_is_replaced_as_a_whole(self) -> None:
        write_month(NOVEMBER, self.folder, NOW)
        (self.folder / "2026-11" / "stray").write_text("")
        write_month(NOVEMBER, self.folder, NOW)
        self.assertFalse((self.folder / "2026-11" / "stray").exists())
        self.assertEqual(len(list(self.folder.iterdir())), 1)


class Command(MonthlyCase):
    def test_by_hand(self) -> None:
        out = StringIO()
        call_command("export_month", "2026-11", to=str(self.folder / "by hand"), mail=["a@example.com"], stdout=out)
        self.assertIn("focus-2026-11.csv.gz", out.getvalue())
        self.assertEqual(len(mail.outbox), 1)
        self.assertFalse(MonthlyExport.objects.exists())
        self.assertEqual(AuditEntry.objects.get(action="other").via, "command")

    def test_wrong_words_are_refused(self) -> None:
        for month in ("2026", "2026-13", "november"):
            with self.subTest(month=month), self.assertRaises(CommandError):
                call_command("export_month", month)
        with override_settings(MAIL_IS_SET_UP=False), self.assertRaises(CommandError):
            call_command("export_month", "2026-11", mail=["a@example.com"], stdout=StringIO())


class Unreachable:
    """A mail server that nobody reaches."""

    def __init__(self, **_options: Any) -> None:
        pass

    def send_messages(self, _messages: Any) -> int:
        raise ConnectionRefusedError("refused")
