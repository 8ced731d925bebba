"""Applying a configuration file: the order of the work, in one transaction."""

import contextlib
import dataclasses
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import User
from gateway.config.accounts import write_keys, write_quotas, write_team_relations, write_teams, write_users
from gateway.config.channels import write_channels
from gateway.config.document import Unreadable, load
from gateway.config.fields import Problems
from gateway.config.policies import check_lists, check_passthrough, write_policies, write_shadows
from gateway.config.providers import write_providers
from gateway.config.prune import prune as prune_unnamed
from gateway.config.rates import write_rates
from gateway.config.routing import fill_the_default_route, write_aliases, write_routes, write_settings
from gateway.config.rows import Run
from gateway.config.scenes import write_scenes
from gateway.config.schema import Document, parse
from providers import config_version


class Refused(Exception):
    """A file was not applied, and nothing was changed. `problems` are lines of "path: what is wrong"."""

    def __init__(self, problems: list[str], located: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        # (path, message) of each; what concerns no field has an empty path.
        self.located = list(located) or [("", problem) for problem in problems]


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    changes: list[str]  # the diff, one line per row
    notes: list[str]


def apply(
    text: str,
    *,
    read_secret: Callable[[str], str],
    dry_run: bool = False,
    prune: bool = False,
    keys_out: Path | None = None,
) -> Result:
    """Bring the rows to what the file `text` says, or raise `Refused` and change nothing.

    `read_secret` gives the value of an environment variable ("" when not set). `keys_out` takes the secrets of keys
    that the file gives none, appended as JSON lines, readable by the owner alone; it is written before the commit,
    so that no key exists whose secret nobody has.
    """
    try:
        raw = load(text)
    except Unreadable as error:
        raise Refused([str(error)]) from None
    return apply_values(raw, read_secret=read_secret, dry_run=dry_run, prune=prune, keys_out=keys_out)


def apply_values(
    raw: Any,
    *,
    read_secret: Callable[[str], str],
    dry_run: bool = False,
    prune: bool = False,
    keys_out: Path | None = None,
) -> Result:
    """Do as `apply` does with the plain values of a file; numbers with a fraction are `Decimal`."""
    problems = Problems()
    document = parse(raw, problems, read_secret)
    try:
        with contextlib.ExitStack() as undo, audit.together():
            run = Run(problems, prune)
            _write(run, document, can_hand_out=keys_out is not None)
            if problems:
                raise Refused(problems.lines(), problems.located())
            if dry_run:
                transaction.set_rollback(True)
            elif run.changes:
                if keys_out is not None and run.new_secrets:
                    undo.enter_context(_appended(keys_out, run.new_secrets))
                config_version.bump()
    except IntegrityError as error:
        raise Refused([_("the database changed meanwhile; try again (%(error)s)") % {"error": error}]) from error
    return Result(run.changes, run.notes)


def _write(run: Run, document: Document, can_hand_out: bool) -> None:
    had_administrator = _has_administrator()
    sections = document.sections
    write_providers(run, sections.get("providers", []))
    write_routes(run, sections.get("routes", []))
    write_scenes(run, sections.get("scenes", []))
    write_aliases(run, sections.get("aliases", []))
    write_policies(run, sections.get("policies", []))
    write_shadows(run, sections.get("policies", []))
    write_teams(run, sections.get("teams", []))
    write_users(run, sections.get("users", []))
    write_team_relations(run, sections.get("teams", []))
    write_keys(run, sections.get("keys", []), can_hand_out)
    write_quotas(run, sections.get("quotas", []))
    write_rates(run, sections.get("exchange_rates", []))
    write_channels(run, sections.get("channels", []))
    if document.settings is not None:
        write_settings(run, document.settings)
    if not run.problems:
        fill_the_default_route(run, sections.get("routes", []))
        check_passthrough(run, document)
    # With problems some rows are missing, and others would wrongly look unused.
    if run.prune and not run.problems:
        prune_unnamed(run, document)
    # A file that changes nothing is not to blame for what was there before.
    if run.changes and not run.problems:
        check_lists(run, document)
    if had_administrator and not _has_administrator():
        run.problems.add("users", _("no active administrator would be left"))


def _has_administrator() -> bool:
    return User.objects.filter(is_superuser=True, is_active=True).exists()


@contextlib.contextmanager
def _appended(path: Path, secrets: Mapping[str, str]) -> Iterator[None]:
    """Append the secrets to the file at `path`, and take them back when the transaction fails after all.

    Raises `Refused` when they cannot be written.
    """
    lines = "".join(json.dumps({"key": name, "secret": secret}) + "\n" for name, secret in secrets.items())
    existed = path.exists()
    try:
        # NOFOLLOW: nobody may have put a link there that leads the secrets elsewhere.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Refused([_("--keys-out: %(path)s is not a regular file") % {"path": path}])
            os.fchmod(file.fileno(), 0o600)
            size = status.st_size
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Refused(
            [_("--keys-out: cannot write %(path)s (%(error)s)") % {"path": path, "error": error.strerror}]
        ) from error
    try:
        yield
    except BaseException:
        if existed:
            os.truncate(path, size)
        else:
            path.unlink(missing_ok=True)
        raise
