"""Who acts: set for whatever a request of the pages, or a command, changes."""

import getpass
import os
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.audit import Actor, acting
from accounts.models import AuditEntry
from accounts.networks import forwarded_for

ANONYMOUS = "anonymous"


class AuditTrail:
    """Write what a request changes down for the person who asks, with the address.

    Goes right behind AuthenticationMiddleware, around everything that could change something. A body that is streamed
    after the view is outside of it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with acting(actor_of(request)):
            return self.get_response(request)


def actor_of(request: HttpRequest) -> Actor:
    """Return who asks: the person who has signed in, or nobody in particular."""
    address = address_of(request)
    user = request.user
    if not user.is_authenticated:
        return Actor(ANONYMOUS, AuditEntry.Via.ADMIN, address=address)
    return Actor(user.get_username(), AuditEntry.Via.ADMIN, user, address)


def address_of(request: HttpRequest) -> str:
    """Return the address of the client, through trusted proxies; "" if it has none."""
    # Django joins the headers where a proxy added one of its own.
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return forwarded_for(request.META.get("REMOTE_ADDR", ""), [forwarded], tuple(settings.TRUSTED_PROXIES))


def command_actor(command: str) -> Actor:
    """Return who acts when `command` runs: its name, and the user of the operating system."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        account = f"uid {os.getuid()}"
    return Actor(f"{command} ({account})", AuditEntry.Via.COMMAND)
