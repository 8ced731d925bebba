"""Ten thousand calls of every end, with `kill -9` in the middle: nothing leaks, and the books agree.

    python -m benchmarks.mixed_outcomes [--calls 10000] [--kills 20] [--workers 4] [--seed 7] [--database postgres://…]

Without `--database` one worker on SQLite, which is killed with its server and started again; else as many workers as
asked for on that PostgreSQL server, in a database of its own that is dropped afterwards (the user must be allowed to
create databases), of which one with running calls is killed each time. Nothing but loopback, no API key. A run is
bounded by its calls: about a minute per 3000 on two idle cores.

The upstream answers, answers without saying what was used, is busy, fails, refuses, is cut off or is slow; clients read
to the end, hang up after the first word, or leave before it; one key runs into its budget. Afterwards the reaper runs
once, and then there must be no running call, no quota window that still holds a reservation, and no difference found by
`verify_ledger`; every answer that a client saw complete must be on the books. Exits with 1 otherwise.

tests/server/test_books.py runs the same with fewer calls.
"""

import argparse
import contextlib
import os
import time

from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.upstream import ScriptedUpstream
from tests.server.databases import postgres_database
from tests.server.mixed import Mix, check, settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000, help="calls that must be on the books")
    parser.add_argument("--kills", type=int, default=20, help="kill -9 in the middle, spread over the calls")
    parser.add_argument("--workers", type=int, default=4, help="on PostgreSQL")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--database", default="", help="a PostgreSQL server, such as postgres://root@127.0.0.1/postgres"
    )
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url, workers = "", 1
        if arguments.database:
            os.environ["TEST_POSTGRES_URL"] = arguments.database
            url, workers = stack.enter_context(postgres_database("mixed_outcomes")), arguments.workers
        upstream = stack.enter_context(ScriptedUpstream())
        config = settings(upstream.base_url)
        gateway = stack.enter_context(GatewayProcess(config, database_url=url, workers=workers, by_script=True))
        mix = Mix(gateway, upstream, workers, arguments.seed)
        started = time.monotonic()
        mix.run(arguments.calls, arguments.kills)
        seconds = time.monotonic() - started
        by_status = check(mix)
    place = f"PostgreSQL, {workers} workers" if url else "SQLite, 1 worker"
    print(f"{place}: {sum(by_status.values())} calls in {seconds:.0f} s, {arguments.kills} kills")
    print("  on the books: " + ", ".join(f"{status} {count}" for status, count in by_status.most_common()))
    print("  seen by clients: " + ", ".join(f"{end} {count}" for end, count in mix.ends.most_common()))
    print("  running calls 0, leaked reservations 0, verify_ledger: the books agree")


if __name__ == "__main__":
    main()
