"""The language and the time zone in which a person reads the pages."""

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

from routing.models import RuntimeSettings


class LocaleOfUser:
    """Show pages in the person's language and time zone, else in the browser's language and the business time zone.

    Goes right behind AuthenticationMiddleware: LocaleMiddleware has chosen a language by then. Costs one query, for
    people without a time zone of their own; who has not logged in costs none.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if not user.is_authenticated:
            return self.get_response(request)
        language = user.language if translation.check_for_language(user.language) else translation.get_language()
        zone = zone_called(user.time_zone) or zone_called(RuntimeSettings.load().business_time_zone)
        with translation.override(language), timezone.override(zone):
            response = self.get_response(request)
            if user.language:
                # LocaleMiddleware would name the browser's.
                response.headers.setdefault("Content-Language", translation.get_language() or "")
            return response


def zone_called(name: str) -> zoneinfo.ZoneInfo | None:
    """Return the IANA time zone `name`, None if it is empty or there is none of that name."""
    try:
        return zoneinfo.ZoneInfo(name) if name else None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # A configuration file may bring any text.
        return None
