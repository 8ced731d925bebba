"""Handing messages over: chat robots and programs by HTTP, people by mail. No database in here.

Private addresses are refused unless the channel allows them, by the guard that providers have (providers/network.py),
and redirects are not followed. Everything has a time limit.
"""

import asyncio
import contextlib
import logging
import smtplib
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import httpx
from django.conf import settings
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.translation import gettext

from accounts.notices.events import Message
from accounts.notices.formats import Request, Verdict, verdict_of
from providers.clients.http import fetch, private_clients
from providers.error_body import one_line
from providers.errors import UpstreamError
from providers.network import is_private_url

logger = logging.getLogger(__name__)

HTTP_TIMEOUT_S = 10.0
# After so long no further mail of a batch is begun. One may take a minute: each step has its own limit (EMAIL_TIMEOUT).
MAILS_WITHIN_S = 120.0
_MAX_ANSWER_BYTES = 256 * 1024
_MAX_ERROR = 300  # characters, of the columns


@dataclass(frozen=True, slots=True)
class Post:
    """A request to a channel. `secrets` are what no error text may repeat."""

    kind: str
    request: Request
    allows_private: bool
    secrets: tuple[str, ...]


def secrets_of(url: str, secret: str) -> tuple[str, ...]:
    """Return what of a channel must not be shown: its URL, the parts of it that may be its key, and its secret."""
    parts = urlsplit(url)
    tokens = [*parts.path.split("/"), *(value for _name, value in parse_qsl(parts.query)), parts.query, secret]
    return (url, *sorted({token for token in tokens if len(token) >= 8}, key=len, reverse=True))


def masked(text: str, secrets: Sequence[str]) -> str:
    """Return `text` in one line that fits the column of errors, without `secrets`."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return one_line(text, limit=_MAX_ERROR)[:_MAX_ERROR]


def post_all(posts: Sequence[Post], transport: httpx.AsyncBaseTransport | None = None) -> list[Verdict]:
    """Send `posts` side by side, each within 10 s; return a verdict for each. `transport` is for tests."""
    return asyncio.run(_post_all(posts, transport)) if posts else []


async def _post_all(posts: Sequence[Post], transport: httpx.AsyncBaseTransport | None) -> list[Verdict]:
    async with private_clients(transport):
        results = await asyncio.gather(*(_post(post) for post in posts), return_exceptions=True)
    verdicts: list[Verdict] = []
    for post, result in zip(posts, results, strict=True):
        if isinstance(result, Exception):
            # Ours to mend; the others' messages have gone out, and must not go out again because of it.
            # The traceback without the error's own words, which may hold the URL.
            trace = "".join(traceback.format_tb(result.__traceback__))
            logger.error("a message to a %s could not be sent: %s\n%s", post.kind, type(result).__name__, trace)
            verdicts.append(Verdict(type(result).__name__))
        elif isinstance(result, BaseException):
            raise result
        else:
            verdicts.append(result)
    return verdicts


async def _post(post: Post) -> Verdict:
    request = post.request
    if not post.allows_private and is_private_url(request.url):
        return Verdict(gettext("the URL is a private address; the channel must allow private networks"))
    try:
        status, body = await fetch(
            "POST",
            request.url,
            request.headers,
            request.content,
            within_s=HTTP_TIMEOUT_S,
            max_bytes=_MAX_ANSWER_BYTES,
            guarded=not post.allows_private,
        )
    except UpstreamError as error:
        # Written for platforms of models.
        return Verdict(masked(error.message.replace("the upstream", "the server"), post.secrets))
    verdict = verdict_of(post.kind, status, body)
    return Verdict(masked(verdict.error, post.secrets), verdict.wait_s) if verdict.error else verdict


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to the people of one message."""

    recipients: tuple[str, ...]
    message: Message


def mail_all(mails: Sequence[Mail]) -> Iterator[Verdict]:
    """Send `mails` one after the other and yield a verdict for each at once.

    A server that is away, or that takes too long for all of them, fails the rest.
    """
    if not settings.MAIL_IS_SET_UP:
        yield from [Verdict(gettext("No mail server is set up (EMAIL_URL)."))] * len(mails)
        return
    connection = mail.get_connection()
    deadline = time.monotonic() + MAILS_WITHIN_S
    failure: Verdict | None = None
    try:
        for one in mails:
            if failure is None and time.monotonic() > deadline:
                failure = Verdict(gettext("the mail server is too slow"))
            if failure is None:
                try:
                    connection.open()
                except OSError as error:  # SMTPException is one
                    failure = Verdict(masked(_words(error), ()))
            yield failure or _mail(one, connection)
    finally:
        _close(connection)


def _mail(one: Mail, connection: BaseEmailBackend) -> Verdict:
    try:
        connection.send_messages([_email(one, connection)])
    except (OSError, ValueError) as error:
        # What the server thinks of the conversation is unknown.
        _close(connection)
        return Verdict(masked(_words(error), ()))
    return Verdict()


def _close(connection: BaseEmailBackend) -> None:
    with contextlib.suppress(OSError):
        connection.close()


def _email(one: Mail, connection: BaseEmailBackend) -> mail.EmailMessage:
    return mail.EmailMessage(
        subject=f"[Wolfgate] {one.message.title}",
        body=one.message.as_text() + "\n",
        to=list(one.recipients),
        # No absence note and no other robot shall answer (RFC 3834).
        headers={"Auto-Submitted": "auto-generated"},
        connection=connection,
    )


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{address}: {code} {_text(reply)}" for address, (code, reply) in error.recipients.items())
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return str(error) or type(error).__name__


def _text(reply: bytes | str) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
