"""Handing messages over: chat robots and programs by HTTP, people by mail. No database in here.

Private addresses are refused unless the channel allows them, by the guard that providers have (providers/network.py),
and redirects are not followed. Everything has a time limit.
"""

import asyncio
import contextlib
import smtplib
from collections.abc import Sequence
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

HTTP_TIMEOUT_S = 10.0
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
        return list(await asyncio.gather(*(_post(post) for post in posts)))


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


def mail_all(mails: Sequence[Mail]) -> list[Verdict]:
    """Send `mails` one after the other; return a verdict for each. A server that is away fails the rest at once."""
    if not mails:
        return []
    if not settings.MAIL_IS_SET_UP:
        return [Verdict(gettext("No mail server is set up (EMAIL_URL)."))] * len(mails)
    verdicts: list[Verdict] = []
    connection = mail.get_connection()
    try:
        for one in mails:
            try:
                connection.open()
            except OSError as error:  # SMTPException is one
                verdicts += [Verdict(masked(_words(error), ()))] * (len(mails) - len(verdicts))
                break
            try:
                connection.send_messages([_email(one, connection)])
                verdicts.append(Verdict())
            except (OSError, ValueError) as error:
                verdicts.append(Verdict(masked(_words(error), ())))
                # What the server thinks of the conversation is unknown.
                with contextlib.suppress(OSError):
                    connection.close()
    finally:
        with contextlib.suppress(OSError):
            connection.close()
    return verdicts


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
