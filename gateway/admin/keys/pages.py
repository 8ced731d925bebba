"""Pages beside those of a key's row: a new secret, shown once."""

from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext

from accounts import keys
from accounts.models import ApiKey
from gateway.admin.keys.delivery import DeliveryForm, links_page, make_links
from gateway.admin.keys.forms import RotateForm
from gateway.handover_page import public_url

if TYPE_CHECKING:
    from gateway.admin.keys.keys import ApiKeyAdmin


def rotate_view(page: "ApiKeyAdmin", request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for the grace period, and answer with the new secret.

    The form names the secret that it replaces: sent twice, it does not end the secret which its first answer showed.
    """
    if not page.has_change_permission(request):
        raise PermissionDenied
    key = page.get_queryset(request).select_related("user").filter(pk=pk).first()
    if key is None:
        raise Http404
    if not page.has_change_permission(request, key):
        raise PermissionDenied
    form = RotateForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                secret = keys.rotate(key, form.grace_time(), instead_of=request.POST.get("instead_of", ""))
                page.log_rows(
                    request, [key], f"Rotated; the former secret ends {key.previous_expires_at:%Y-%m-%d %H:%M} UTC."
                )
                return delivered(page, request, key, secret, form)
        except ValidationError as error:
            form.add_error(None, error)
    context = {
        **page.admin_site.each_context(request),
        "title": gettext("Rotate the key"),
        "opts": page.opts,
        "key": key,
        "form": form,
    }
    return TemplateResponse(request, "admin/accounts/apikey/rotate.html", context)


def delivered(page: "ApiKeyAdmin", request: HttpRequest, key: ApiKey, secret: str, form: DeliveryForm) -> HttpResponse:
    """Return the page with the secret, or with the link to it, as `form` says. In the transaction that made it."""
    lifetime = form.link_time()
    if lifetime is None:
        return secret_page(page, request, key, secret)
    return links_page(page, request, make_links(request, [(key, secret)], lifetime), lifetime)


def secret_page(page: "ApiKeyAdmin", request: HttpRequest, key: ApiKey, secret: str) -> HttpResponse:
    """Return the page with the secret itself: no message, session or cookie holds it, no reload brings it back."""
    context: dict[str, Any] = {
        **page.admin_site.each_context(request),
        "title": gettext("The new secret") if key.previous_digest else gettext("The new key"),
        "opts": page.opts,
        "key": key,
        "secret": secret,
        "base_url": public_url(request) + "/api/v1/claude-code",
        "key_url": reverse("admin:accounts_apikey_change", args=(key.pk,)),
    }
    return TemplateResponse(request, "admin/accounts/apikey/issued.html", context)
