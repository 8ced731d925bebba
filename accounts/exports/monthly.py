"""The export of a month: its files in a folder, once, whichever process comes first; and by e-mail."""

import gzip
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone, translation
from django.utils.translation import gettext

from accounts.audit import record
from accounts.exports.calls import calls_csv
from accounts.exports.focus import focus_csv
from accounts.exports.reports import about, add_report
from accounts.exports.selection import booked
from accounts.exports.sheets import Book
from accounts.exports.statements import statement, statement_html
from accounts.models import AuditEntry, ClosedMonth, MonthlyExport, Team, UsageDaily, User
from accounts.notices import events, outbox
from accounts.reports import Period, Query, business_day, run
from routing.models import RuntimeSettings

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
# A run that is older has died with its process.
DEAD_AFTER = timedelta(hours=1)
_BACKOFF = timedelta(minutes=10)
# What mail servers take as a rule; what is larger stays in the folder.
MAX_ATTACHED_BYTES = 10 * 1024 * 1024
_SHEETS = (("team",), ("cost_center",), ("user",), ("provider", "model"), ("scene",), ("day",))


class MailNotSetUp(Exception):
    """There is no mail server."""


def run_due(now: datetime) -> None:
    """Make the export of the month before, from the second day of a month on, if it is switched on and not made yet.

    It is made and sent once more when the month was closed after it: what was found until then is in no file yet.

    To be called at will, by every process: one makes it. One that failed is tried again after a while, one whose
    process died after an hour.
    """
    row = RuntimeSettings.load()
    if not row.monthly_export_enabled:
        return
    today = business_day(now, row)
    if today.day < 2:
        return
    month = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    export = _claim(month, now)
    if export is None:
        return
    recipients = row.monthly_export_recipients.split()
    try:
        with translation.override(_language_of(recipients)):
            _make(export, recipients, now)
    except Exception as error:
        # Whatever it was: it must not end the thread, and somebody has to read of it.
        logger.exception("The export of %s failed", export)
        _finish(export, MonthlyExport.Status.FAILED, f"{type(error).__name__}: {error}")


def _claim(month: date, now: datetime) -> MonthlyExport | None:
    export, is_new = MonthlyExport.objects.get_or_create(month=month, defaults={"started_at": now, "attempts": 1})
    if is_new:
        return export
    begun = {"status": MonthlyExport.Status.RUNNING, "started_at": now, "finished_at": None}
    closed = ClosedMonth.objects.filter(month=month).values_list("closed_at", flat=True).first()
    if closed is not None:
        # Begun before: what a run under way has read is from before the closing too, but it may not have finished.
        before = MonthlyExport.objects.filter(pk=export.pk, status=MonthlyExport.Status.DONE, started_at__lt=closed)
        if before.update(**begun, attempts=1, files=[], recipients=[], error=""):
            export.refresh_from_db()
            return export
    waits = _BACKOFF * 2 ** max(0, export.attempts - 1)
    is_due = Q(status=MonthlyExport.Status.FAILED, finished_at__lte=now - waits) | Q(
        status=MonthlyExport.Status.RUNNING, started_at__lte=now - DEAD_AFTER
    )
    # Who sees the row as it was changes it; all others find it changed.
    mine = MonthlyExport.objects.filter(is_due, pk=export.pk, attempts=export.attempts, attempts__lt=MAX_ATTEMPTS)
    if not mine.update(**begun, attempts=F("attempts") + 1):
        return None
    export.refresh_from_db()
    return export


def _language_of(recipients: list[str]) -> str:
    """Return the language of the first recipient who has one."""
    languages = User.objects.filter(email__in=recipients).exclude(language="").values_list("email", "language")
    known = dict(languages)
    return next((known[address] for address in recipients if address in known), settings.LANGUAGE_CODE)


def _make(export: MonthlyExport, recipients: list[str], now: datetime) -> None:
    folder = settings.EXPORT_DIR / f"{export.month:%Y-%m}"
    # Made already, and only the mail failed.
    if not export.files or not folder.is_dir():
        names = write_month(export.month, settings.EXPORT_DIR, now)
        export.files = [f"{folder.name}/{name}" for name in names]
        export.save(update_fields=["files"])
    error = ""
    try:
        for address in recipients:
            if address not in export.recipients:
                send(export.month, folder, address)
                export.recipients = [*export.recipients, address]
                export.save(update_fields=["recipients"])
    except MailNotSetUp:
        error = gettext("The files are in the folder. No mail server is set up (EMAIL_URL), so nothing was sent.")
    if _finish(export, MonthlyExport.Status.DONE, error):
        count = len(export.files)
        record(
            AuditEntry.Action.OTHER, export, note=f"export of the month: {count} files, {len(export.recipients)} mails"
        )


def _finish(export: MonthlyExport, status: MonthlyExport.Status, error: str) -> bool:
    """Write how it ended and tell the channels; False if another process has taken it over meanwhile.

    Of several attempts that fail the first is told.
    """
    mine = MonthlyExport.objects.filter(pk=export.pk, attempts=export.attempts, status=MonthlyExport.Status.RUNNING)
    month = f"{export.month:%Y-%m}"
    has_failed = status == MonthlyExport.Status.FAILED
    # By the day: the files of a month that was closed afterwards are another piece of news.
    occasion = f"export:{month}:failed" if has_failed else f"export:{month}:{export.started_at:%Y-%m-%d}"
    facts = {"month": month, "error": error[:500]} if has_failed else {"month": month, "files": export.files}
    with transaction.atomic():
        is_mine = bool(mine.update(status=status, error=error[:500], finished_at=timezone.now()))
        if is_mine:
            outbox.tell([events.Event(events.MONTHLY_EXPORT, occasion, facts)])
    return is_mine


def write_month(month: date, target: Path, now: datetime) -> list[str]:
    """Write the files of the month of `month` into `target`/2026-11, and return their names.

    The folder appears at once with all of them, or not at all; one that was there is replaced. Only the owner of the
    process may read it. Names and titles are in the language in force.
    """
    period = Period.month(month)
    folder = target / f"{period.start:%Y-%m}"
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    making = target / f".{folder.name}.{uuid.uuid4().hex}"
    making.mkdir(mode=0o700)
    try:
        names = list(_write(period, making, now))
        if folder.exists():
            former = target / f".{folder.name}.{uuid.uuid4().hex}"
            folder.rename(former)
            making.rename(folder)
            shutil.rmtree(former, ignore_errors=True)
        else:
            making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return names


def _write(period: Period, folder: Path, now: datetime) -> Iterator[str]:
    month = f"{period.start:%Y-%m}"
    zone = ZoneInfo(RuntimeSettings.load().business_time_zone)
    query = Query(period)
    yield _zipped(folder, f"calls-{month}.csv.gz", calls_csv(booked(query), zone))
    yield _zipped(folder, f"focus-{month}.csv.gz", focus_csv(query))
    name = f"usage-{month}.xlsx"
    with open(folder / name, "xb", opener=_private) as file, Book() as book:
        reports = [run(Query(period, by)) for by in _SHEETS]
        titles = [gettext("Teams"), gettext("Cost centers"), gettext("Users"), gettext("Models"), gettext("Scenes")]
        for report, title in zip(reports, [*titles, gettext("Days")], strict=True):
            add_report(book, report, title)
        book.add_words(gettext("About"), about(reports[0], now))
        book.save(file)
    yield name
    teams: list[Team | None] = list(Team.objects.select_related("lead").order_by("pk"))
    used = set(
        UsageDaily.objects.filter(date__range=(period.start, period.end)).values_list("team", flat=True).distinct()
    )
    for team in [*teams, None]:
        if (team.pk if team is not None else None) in used:
            name = f"statement-{month}-{_slug(team)}.html"
            with open(folder / name, "xb", opener=_private) as file:
                file.write(statement_html(statement(team, period.start), now).encode())
            yield name


def _slug(team: Team | None) -> str:
    """Return a name of a file; the number keeps apart what becomes the same."""
    if team is None:
        return "none"
    words = re.sub(r"[^\w-]+", "-", team.name).strip("-")[:60]
    return f"{team.pk}-{words}".rstrip("-")


def _zipped(folder: Path, name: str, parts: Iterator[bytes]) -> str:
    with open(folder / name, "xb", opener=_private) as file, gzip.open(file, "wb", compresslevel=6) as zipped:
        for part in parts:
            zipped.write(part)
    return name


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def send(month: date, folder: Path, address: str) -> None:
    """Mail the files in `folder` to `address`, of many or long ones only where they are.

    Raises `MailNotSetUp`, and what the mail server's client raises.
    """
    if not settings.MAIL_IS_SET_UP:
        raise MailNotSetUp
    files = sorted(folder.iterdir())
    is_attached = sum(file.stat().st_size for file in files) <= MAX_ATTACHED_BYTES
    values = {"month": f"{month:%Y-%m}", "folder": folder}
    text = gettext("The export of %(month)s is ready.") % values + "\n\n"
    if not is_attached:
        text += gettext("It is too large for a mail. The files are on the server, in %(folder)s:") % values + "\n"
    text += "\n".join(file.name for file in files) + "\n"
    message = EmailMessage(gettext("Wolfgate: export of %(month)s") % values, text, to=[address])
    for file in files if is_attached else []:
        message.attach(file.name, file.read_bytes(), _TYPES.get(file.suffix, "application/octet-stream"))
    message.send()


_TYPES = {
    ".gz": "application/gzip",
    ".html": "text/html",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
