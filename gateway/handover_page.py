"""The page behind a one-time link: it asks for a click, shows the secret once, and is open to whoever has the link.

The click is a POST: programs that look at links in chats and mails ask with GET, and must not use the link up.
"""

from datetime import datetime, tzinfo
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts import handovers
from accounts.models import ApiKey, User
from gateway.incoming import client_address
from gateway.locale_of_user import zone_called
from routing.models import RuntimeSettings

# What the page holds goes nowhere: into no cache, no search engine, no other site.
HEADERS = {
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
}


def public_url(request: HttpRequest | None = None) -> str:
    """Return the address of the gateway as people reach it, without a slash at its end.

    `request` is what to take it from where the settings do not say. Raises `ValueError` where neither does.
    """
    if settings.PUBLIC_URL:
        return str(settings.PUBLIC_URL)
    if request is None:
        raise ValueError("PUBLIC_URL is not set, and no request says how the gateway is reached.")
    return request.build_absolute_uri("/").rstrip("/")


def link_to(token: str, request: HttpRequest | None = None) -> str:
    """Return the link with `token`, to be given to a person. See `public_url`."""
    return public_url(request) + reverse("handover", args=(token,))


def letter(key: ApiKey, link: str, expires_at: datetime) -> tuple[str, str]:
    """Return subject and text of a message that takes `link` to the owner of `key`, in the owner's language."""
    language = key.user.language
    known = language if translation.check_for_language(language) else settings.LANGUAGE_CODE
    with translation.override(known), timezone.override(zone_of(key.user)):
        values = {"key": key.name, "link": link, "moment": f"{timezone.localtime(expires_at):%Y-%m-%d %H:%M %Z}"}
        text = gettext(
            "Behind this link is the secret of your key %(key)s:\n\n%(link)s\n\nIt is shown once. The link ends at"
            " %(moment)s. If it was opened before you came, tell your administrator: the key must be revoked."
        )
        return gettext("Your key %(key)s") % values, text % values


def address_of(request: HttpRequest) -> str:
    """Return the address of the client, through trusted proxies under ASGI."""
    if isinstance(request, ASGIRequest):
        return client_address(request)
    return str(request.META.get("REMOTE_ADDR", ""))


# Who can send the form knows the token, and a browser that keeps no cookies gets its key too.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def handover_view(request: HttpRequest, token: str) -> HttpResponse:
    """Ask for the click, show the secret, or say that there is nothing behind the link."""
    try:
        if request.method == "POST":
            opened = handovers.open_once(token, address_of(request))
            context: dict[str, Any] = {
                "key": opened.key,
                "secret": opened.secret,
                "base_url": public_url(request) + "/api/v1/claude-code",
            }
            return _page(request, "shown", **context)
        found = handovers.find(token, timezone.now())
        return _page(request, "closed", key=found.key, ends_at=found.expires_at)
    except handovers.Unknown:
        return _page(request, "over", status=404)
    except handovers.Over:
        return _page(request, "over", status=410)


def _page(request: HttpRequest, name: str, status: int = 200, **context: Any) -> HttpResponse:
    # Who opens a link has not logged in; its times are those of the key's owner, whose browser says nothing of a zone.
    owner = context["key"].user if "key" in context else None
    with timezone.override(zone_of(owner)):
        text = render_to_string(f"handover/{name}.html", context, request)
    response = HttpResponse(text, status=status, headers=HEADERS)
    # Django logs the path of a 404, and a link of which one character was lost on the way is almost the whole token.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def zone_of(owner: User | None) -> tzinfo | None:
    """Return the time zone of `owner`, else the business time zone."""
    own = zone_called(owner.time_zone) if owner is not None else None
    return own or zone_called(RuntimeSettings.load().business_time_zone)
