"""The first login: nothing but the password form answers until a temporary password is changed."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.hashers import check_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import User
from gateway.manage import is_manage


class ForcePasswordChange:
    """Send a user who must change the password to the form, whatever page was asked for.

    The flag falls when the form has stored another password. The other sessions of the user end with it, because a
    session holds a hash of the password.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        # The management API looks itself, for a key may come with any session.
        if is_manage(request.path_info) or not user.is_authenticated or not user.must_change_password:
            return self.get_response(request)
        form = reverse("admin:password_change")
        if request.path == form:
            # The form changes this very object, which a look at the row would confirm.
            before = user.password
            response = self.get_response(request)
            if request.method == "POST" and user.password != before:
                audit.update(User.objects.filter(pk=user.pk, password=user.password), must_change_password=False)
                # Django's page after a change leads nowhere.
                return HttpResponseRedirect(reverse("admin:index"))
            return response
        if request.path in (reverse("admin:logout"), reverse("admin:jsi18n")) or _needs_no_login(request):
            return self.get_response(request)
        if request.accepts("text/html"):
            return HttpResponseRedirect(form)
        return JsonResponse({"error": {"message": _("Change your password first.")}}, status=403)


def _needs_no_login(request: HttpRequest) -> bool:
    """Return whether the page is one that a stranger may open too: it would be odd to keep it from a known person."""
    return request.path.startswith("/handover/")


class NotTheOldPassword:
    """A password validator: changing a temporary password to itself is no change. For AUTH_PASSWORD_VALIDATORS."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raise `ValidationError` if `password` is the one that `user` has."""
        # Not user.check_password, which may save the user with an upgraded hash.
        if user is not None and user.password and check_password(password, user.password):
            raise ValidationError(self.get_help_text(), code="password_unchanged")

    def get_help_text(self) -> str:
        """Return the rule, for the form."""
        return _("Your password must differ from the one you have.")
