"""Bring a data directory and its database up to date: the part of `scripts/serve` that needs Django.

Every step looks first whether there is anything to do, so that a start with everything in place costs a second.
Everything happens in this one process: each `manage.py` of its own would load Django again.
"""

import base64
import contextlib
import hashlib
import io
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TextIO

from scripts.compile_messages import compile_stale
from scripts.environment import REPO, SetupError, exclusive, say

MAKE_SECRET: dict[str, Callable[[], str]] = {
    "SECRET_KEY": lambda: secrets.token_urlsafe(48),
    "WOLFGATE_KEY_PEPPER": lambda: secrets.token_urlsafe(48),
    # A Fernet key, as `cryptography.fernet.Fernet.generate_key` makes it.
    "WOLFGATE_ENCRYPTION_KEYS": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
}
DATABASES = ("postgres", "postgresql", "sqlite")
KEY = re.compile(r"\bwg_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
# PostgreSQL's advisory lock that one starting machine holds while it migrates; any number that nobody else uses.
ADVISORY_LOCK = 0x776F6C66


def prepare(data_dir: Path, config: Path | None, start_model: Callable[[], int] | None) -> str | None:
    """Do everything that serving needs, and return the API key that was made on the way, if one was.

    `start_model` starts the demo model and returns its port. Raises `SetupError` with a text for the person at the
    terminal.
    """
    import environ

    with contextlib.suppress(FileNotFoundError):
        environ.Env.read_env(REPO / ".env")
    check_database_url(os.environ.get("DATABASE_URL", ""))
    compile_stale(REPO)
    make_data_dir(data_dir)
    # What is made from here on (database, logs, static files) is nobody else's business.
    os.umask(0o077)
    with exclusive(data_dir):
        ensure_secrets(data_dir, os.environ)
        setup_django()
        return bring_up(data_dir, config, start_model)


def check_database_url(url: str) -> None:
    """Raise `SetupError` for what Wolfgate cannot run on. The URL is not repeated: it holds a password."""
    scheme, separator, _ = url.partition("://")
    if url and not (separator and scheme in DATABASES):
        raise SetupError(f"DATABASE_URL must start with one of {', '.join(f'{name}://' for name in DATABASES)}")


def make_data_dir(data_dir: Path) -> None:
    """Make the directory private on the first start; what its owner allowed later is left alone."""
    is_first_start = not (data_dir / "secrets.env").exists()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if is_first_start and data_dir.stat().st_uid == os.getuid():
            data_dir.chmod(0o700)
    except OSError as error:
        raise SetupError(
            f"cannot use the data directory {data_dir}: {error.strerror} (WOLFGATE_DATA_DIR names it)"
        ) from error
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise SetupError(f"cannot write to the data directory {data_dir} (WOLFGATE_DATA_DIR names it)")


def ensure_secrets(data_dir: Path, environment: MutableMapping[str, str]) -> list[str]:
    """Write the secrets that neither the environment nor `secrets.env` has to that file, mode 600; return their names.

    A secret that exists is never replaced: issued keys and stored credentials depend on it.
    """
    file = data_dir / "secrets.env"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    known = {line.partition("=")[0].removeprefix("export ").strip() for line in text.splitlines()}
    known |= {name for name in MAKE_SECRET if environment.get(name) or environment.get(f"{name}_FILE")}
    missing = [name for name in MAKE_SECRET if name not in known]
    if missing:
        lines = [f"{name}={MAKE_SECRET[name]()}\n" for name in missing]
        draft = file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as new:
            new.write(text + ("\n" if text and not text.endswith("\n") else "") + "".join(lines))
            new.flush()
            os.fsync(new.fileno())
        draft.replace(file)
    elif file.exists() and file.stat().st_mode & 0o077 and file.stat().st_uid == os.getuid():
        file.chmod(0o600)
    return missing


def setup_django() -> None:
    """Load the settings and the apps. Raises `SetupError` for settings that cannot be."""
    import django
    from django.core.exceptions import ImproperlyConfigured

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    try:
        django.setup()
    except (ImproperlyConfigured, ValueError, OSError) as error:
        raise SetupError(f"the settings cannot be used: {error}") from error


def bring_up(data_dir: Path, config: Path | None, start_model: Callable[[], int] | None) -> str | None:
    """Check, migrate, collect, bootstrap and configure."""
    from django.core.management import CommandError, call_command
    from django.core.management.base import SystemCheckError
    from django.db import OperationalError, connections

    from accounts.audit import acting
    from gateway.audit_trail import command_actor

    try:
        call_command("check", stdout=io.StringIO())
        collect_static()
        with one_at_a_time():
            migrate()
            output = Copy(sys.stdout)
            with acting(command_actor("serve")):
                call_command("bootstrap", stdout=output, **({"demo_port": start_model()} if start_model else {}))
                if config:
                    call_command("apply_config", str(config), keys_out=data_dir / "issued-keys.jsonl")
            train_scorers()
    except SystemCheckError as error:
        raise SetupError(str(error).strip()) from error
    except CommandError as error:
        raise SetupError(str(error)) from error
    except OperationalError as error:
        raise SetupError(f"the database does not answer (DATABASE_URL): {str(error).splitlines()[0]}") from error
    finally:
        for connection in connections.all(initialized_only=True):
            connection.close()
            if hasattr(connection, "close_pool"):
                connection.close_pool()
    found = KEY.search(output.getvalue())
    return found[0] if found else None


class Copy(io.StringIO):
    """Pass what is written on, and keep it: the lines to paste at the end repeat the key that bootstrap shows."""

    def __init__(self, target: TextIO) -> None:
        super().__init__()
        self.target = target

    def write(self, text: str) -> int:
        self.target.write(text)
        return super().write(text)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """On PostgreSQL, keep other machines from migrating and bootstrapping the same database meanwhile."""
    from django.db import connection

    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
    try:
        yield
    finally:
        # A connection that broke has released its lock, and the error that broke it is the one to report.
        if connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])


def migrate() -> None:
    """Apply what is missing. Asking first saves the command's signals, which write permissions at every run."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        say("bringing the database up to date")
        call_command("migrate", interactive=False, verbosity=0)


def train_scorers() -> None:
    """Train what policies by intent lack: a new version reads no scorer of an older one.

    Calls are routed without one all the same, so a failure is logged and stops no start.
    """
    from routing.intent.training import ensure_after_commit

    ensure_after_commit()  # at once, for no transaction is open


def collect_static() -> None:
    """Collect and compress the static files when any of them changed since the last time."""
    from django.conf import settings
    from django.contrib.staticfiles.finders import get_finders
    from django.core.management import call_command

    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            status = Path(storage.path(name)).stat()
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    stamp = Path(settings.STATIC_ROOT) / ".collected"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    say("collecting static files")
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(digest.hexdigest())


def main() -> None:
    """For the image build: compile the catalogues and collect the static files, without any database."""
    compile_stale(REPO)
    setup_django()
    collect_static()


if __name__ == "__main__":
    main()
