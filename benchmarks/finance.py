"""How long the pages of finance take on large books, and what a file of a month costs.

    python -m benchmarks.ledger_rows            # once: the books, see there
    python -m benchmarks.finance [--rounds 5] [--only usage] [--skip-files]

Starts the gateway as it runs in production on the database of DATABASE_URL, signs in as a superuser that it makes there
(`finance-benchmark`), and asks each page `--rounds` times after one that is not counted. Every page is asked for the
days that end with the last one on the books. A report may take a second, the first page of the list of calls 300 ms;
exits with 1 if the median of a page took longer, or if the memory grew with a file. Then the calls of a month are
streamed as CSV: rows per second, time to the first byte, and the resident memory of the server's processes.
"""

import argparse
import os
import secrets
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

import django

django.setup()

import httpx
from django.db import connection
from django.db.models import Max

from accounts.models import CallRecord, UsageDaily, User
from accounts.reports import DIMENSIONS
from tests.fakes.gateway_process import GatewayProcess, process_tree

REPORT_S, LIST_S = 1.0, 0.3
# A page of 2,000 calls, its text, and what the allocator keeps of both.
FILE_MB = 40.0
SIGNS_IN = "finance-benchmark"
_REPORTS, _LIST, _EXPORTS = "/admin/reports/", "/admin/accounts/callrecord/", "/admin/exports/"


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is asked for, and how long it may take."""

    name: str
    path: str
    budget_s: float


def pages(last: date) -> list[Page]:
    """Return the pages for books that end with the day `last`; the examples are the busiest user, key and team."""
    month, before, quarter, year = (
        {"period": "custom", "start": str(start), "end": str(end)}
        for start, end in (
            (last.replace(day=1), last),
            ((last.replace(day=1) - timedelta(days=1)).replace(day=1), last.replace(day=1) - timedelta(days=1)),
            (last - timedelta(days=89), last),
            (last - timedelta(days=364), last),
        )
    )
    lately = UsageDaily.objects.filter(date__gt=last - timedelta(days=30))
    busiest: dict[str, Any] = {
        name: lately.values_list(name, flat=True).order_by("-calls").first()
        for name in ("user_id", "key_id", "team_id", "model_name")
    }

    def report(name: str, kind: str, days: dict[str, str], **asked: str) -> Page:
        return Page(
            f"{kind or 'overview'}: {name}",
            f"{_REPORTS}{kind}{'/' if kind else ''}?{urlencode({**days, **asked})}",
            REPORT_S,
        )

    def calls(name: str, **asked: Any) -> Page:
        return Page(f"calls: {name}", f"{_LIST}?{urlencode(asked)}", LIST_S)

    session = CallRecord.objects.filter(booked_on=last).exclude(session_id="").values_list("session_id", flat=True)[0]
    booked = f"{before['start']}..{before['end']}"
    return [
        Page("overview", _REPORTS, REPORT_S),
        *(report(f"this month by {name}", "usage", month, by=name) for name in DIMENSIONS),
        *(report(f"90 days by {name}", "usage", quarter, by=name) for name in ("day", "team", "user", "key", "model")),
        *(report(f"a year by {name}", "usage", year, by=name) for name in ("month", "team", "user", "model")),
        report("a year by month and team", "usage", year, by="month", then="team"),
        report("a year by month and cost center", "usage", year, by="month", then="cost_center"),
        report("last month by user and model", "usage", before, by="user", then="model"),
        report("a year of one user by month", "usage", year, by="month", user=busiest["user_id"]),
        report("a year of one team by user", "usage", year, by="user", team=busiest["team_id"]),
        report("a year of one model by month", "usage", year, by="month", model=busiest["model_name"]),
        report("this month by model", "savings", month, by="model"),
        report("a year by month", "savings", year, by="month"),
        report("this month by provider", "failures", month, by="provider"),
        report("a year by month", "failures", year, by="month"),
        report("this month", "keys", month),
        report("one, 90 days", f"keys/{busiest['key_id']}", quarter),
        report("all", "budgets", {}),
        Page("exports", _EXPORTS, REPORT_S),
        calls("all"),
        calls("a user", user__id__exact=busiest["user_id"]),
        calls("a team", team__id__exact=busiest["team_id"]),
        calls("a provider", provider_name="openrouter"),
        calls("failed", status__exact="failed"),
        calls("unpriced", cost="unpriced"),
        calls("found by a name", q="user0007"),
        calls("a session", session=session),
        calls("booked in a month", booked=booked),
        calls("booked on a day", booked=f"{last}..{last}"),
        calls("of a report: model", booked=booked, model=busiest["model_name"]),
        calls("of a report: cost center", booked=booked, cost_center="4003"),
        calls("of a report: user and model", booked=booked, user=busiest["user_id"], model=busiest["model_name"]),
        *(
            calls(f"of a report: {mark}", booked=booked, only=mark)
            for mark in ("failed", "fallback", "unpriced", "estimated")
        ),
        calls("of a report: failed of a model", booked=booked, model=busiest["model_name"], only="failed"),
    ]


def sign_in(base_url: str) -> httpx.Client:
    """Return a client with the session of a superuser."""
    password = secrets.token_urlsafe(24)
    user, _is_new = User.objects.get_or_create(
        username=SIGNS_IN, defaults={"is_staff": True, "is_superuser": True, "password": "!"}
    )
    user.set_password(password)
    user.save(update_fields=["password"])
    client = httpx.Client(base_url=base_url, timeout=600, trust_env=False)
    client.get("/admin/login/")
    form = {"username": SIGNS_IN, "password": password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    answer = client.post("/admin/login/", data=form, headers={"Referer": base_url})
    if answer.status_code != 302:
        raise SystemExit(f"The gateway did not let {SIGNS_IN} in: {answer.status_code}")
    return client


def ask(client: httpx.Client, page: Page, rounds: int) -> list[float]:
    """Return how many seconds each of `rounds` answers took, after one that fills the caches."""
    taken = []
    for _round in range(rounds + 1):
        begin = time.perf_counter()
        answer = client.get(page.path)
        taken.append(time.perf_counter() - begin)
        if answer.status_code != 200:
            raise SystemExit(f"{page.path}: {answer.status_code}\n{answer.text[:500]}")
    return taken[1:]


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process and its descendants."""
    found = 0
    for process in process_tree(pid):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        found += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return found / 1024


@contextmanager
def watched(pid: int) -> Iterator[list[float]]:
    """Give the memory of the processes, measured ten times a second until the end."""
    found, done = [memory_mb(pid)], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            found.append(memory_mb(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def stream(client: httpx.Client, pid: int, name: str, path: str) -> float:
    """Read a file to its end, print what it took, and return by how many MB the memory grew at the most."""
    with watched(pid) as memory:
        begin = time.perf_counter()
        first, size, lines = 0.0, 0, 0
        with client.stream("GET", path) as answer:
            if answer.status_code != 200:
                raise SystemExit(f"{path}: {answer.status_code}")
            for part in answer.iter_raw():
                first = first or time.perf_counter() - begin
                size += len(part)
                lines += part.count(b"\n")
        taken = time.perf_counter() - begin
    middle = memory[len(memory) // 10 :]
    print(
        f"{name:40} {lines:>9,} lines {size / 1e6:7,.0f} MB in {taken:5.1f} s: {lines / taken:8,.0f} lines/s,"
        f" first byte {1000 * first:5.0f} ms, memory {memory[0]:.0f} MB, at most {max(memory):.0f} MB,"
        f" after a tenth of the file +{max(middle) - middle[0]:.0f} MB"
    )
    return max(middle) - middle[0]


def files(client: httpx.Client, pid: int, last: date) -> bool:
    """Stream what can be had of the last whole month; return whether the memory stayed."""
    end = last.replace(day=1) - timedelta(days=1)
    asked = urlencode({"period": "custom", "start": end.replace(day=1), "end": end})
    found = [
        stream(client, pid, name, f"{_EXPORTS}{path}?{asked}")
        for name, path in (("calls of a month, CSV", "calls.csv"), ("FOCUS of a month, CSV", "focus.csv"))
    ]
    return max(found) <= FILE_MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="part of the names of the pages to ask for")
    parser.add_argument("--skip-files", action="store_true")
    arguments = parser.parse_args()
    if connection.vendor != "postgresql":
        raise SystemExit("This needs PostgreSQL: set DATABASE_URL.")
    last = UsageDaily.objects.aggregate(last=Max("date"))["last"]
    if last is None:
        raise SystemExit("The books are empty: run benchmarks.ledger_rows before.")
    wanted = [page for page in pages(last) if arguments.only in page.name]
    late = 0
    with GatewayProcess({"version": 1}, database_url=os.environ["DATABASE_URL"]) as gateway:
        client = sign_in(gateway.base_url)
        print(f"{'page':40} {'median ms':>10} {'least':>7} {'worst':>7}  load {os.getloadavg()[0]:.1f}")
        for page in wanted:
            taken = ask(client, page, arguments.rounds)
            median = statistics.median(taken)
            is_late = median > page.budget_s
            late += is_late
            print(
                f"{page.name:40} {1000 * median:10.0f} {1000 * min(taken):7.0f} {1000 * max(taken):7.0f}"
                f"  {os.getloadavg()[0]:.1f}{'  <-- over ' + format(page.budget_s, 'g') + ' s' if is_late else ''}",
                flush=True,
            )
        is_steady = arguments.skip_files or files(client, gateway.pid, last)
    print(f"{len(wanted)} pages, {late} over their budget; memory {'stays' if is_steady else 'GROWS'}")
    sys.exit(1 if late or not is_steady else 0)


if __name__ == "__main__":
    main()
