"""PostgreSQL databases of a test's own."""

import contextlib
import os
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.conftest import require


@contextlib.contextmanager
def postgres_database(subject: str) -> Iterator[str]:
    """Yield the URL of an empty database, dropped afterwards. Skips without a server, as `require` says."""
    server_url = os.environ.get("TEST_POSTGRES_URL", "")
    require("postgres", bool(server_url), "TEST_POSTGRES_URL is not set")
    name = f"wolfgate_{subject}_{os.getpid()}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name}".encode())
        admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
