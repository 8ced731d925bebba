"""The first login: nothing but the password form answers until a temporary password is changed."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _


class ForcePasswordChange:
    """Send a user who must change the password to the form, whatever page was asked for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if not user.is_authenticated or not user.must_change_password:
            return self.get_response(request)
        form = reverse("admin:password_change")
        if request.path in (form, reverse("admin:logout"), reverse("admin:jsi18n")):
            return self.get_response(request)
        if request.accepts("text/html"):
            return HttpResponseRedirect(form)
        return JsonResponse({"error": {"message": _("Change your password first.")}}, status=403)
