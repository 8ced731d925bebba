"""Work on many keys at once: a page between the selection in a list and what is done with it."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from accounts import keys
from accounts.key_limits import set_minute_limits
from accounts.models import ApiKey, User
from gateway.admin.keys.delivery import deliver
from gateway.admin.keys.forms import BulkRotateForm, IssueForm, LifetimeForm
from gateway.admin.people.role_forms import may_give_roles
from gateway.admin_base import ModelAdmin
from gateway.admin_scope import is_restricted

MAX_SELECTION = 5000
_SHOWN = 20

# What the forms carry of each selected row: its id, and of a key the begin of the secret that was in force.
Selection = Mapping[int, str]


def posted(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Return `view` (page, request) for forms only: whoever comes without one is led to the list."""

    def only_posted(page: ModelAdmin, request: HttpRequest) -> HttpResponse:
        return view(page, request) if request.method == "POST" else HttpResponseRedirect(_list_of(page))

    return only_posted


def selected_keys(queryset: QuerySet[ApiKey]) -> Selection:
    """Return the selected keys with the begins of their secrets."""
    return dict(queryset.values_list("pk", "prefix")[: MAX_SELECTION + 1])


def selected_users(queryset: QuerySet[User]) -> Selection:
    """Return the selected people."""
    return dict.fromkeys(queryset.values_list("pk", flat=True)[: MAX_SELECTION + 1], "")


def read_selection(text: str) -> dict[int, str]:
    """Return the selection that a form carries. Raises `PermissionDenied` for what no form of ours does."""
    try:
        found = {int(pk): prefix for pk, prefix in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError):
        raise PermissionDenied from None
    if len(found) > MAX_SELECTION or not all(isinstance(prefix, str) for prefix in found.values()):
        raise PermissionDenied
    return found


def selection_page(
    page: ModelAdmin, request: HttpRequest, form: forms.Form, selection: Selection, url_name: str, **texts: Any
) -> HttpResponse | None:
    """Show `form` for the selected rows; it is sent to `url_name`. `texts`: title, intro, submit."""
    if len(selection) > MAX_SELECTION:
        text = gettext("Select at most %(limit)d rows.") % {"limit": MAX_SELECTION}
        page.message_user(request, text, messages.ERROR)
        return None
    some = page.get_queryset(request).in_bulk(list(selection)[:_SHOWN])
    context = {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "form": form,
        "selection": json.dumps(selection),
        "action_url": reverse(f"admin:{url_name}"),
        "rows": list(some.values()),
        "more": len(selection) - len(some),
        "media": page.media + form.media,
        **texts,
    }
    return TemplateResponse(request, "admin/accounts/selection.html", context)


def extend_page(
    page: ModelAdmin, request: HttpRequest, selection: Selection, form: forms.Form | None = None
) -> HttpResponse | None:
    """Ask until when the selected keys are to be good."""
    return selection_page(
        page,
        request,
        form or LifetimeForm(),
        selection,
        "accounts_apikey_extend",
        title=gettext("Extend keys"),
        intro=gettext("Keys that end later already, or never, stay as they are. Revoked keys stay revoked."),
        submit=gettext("Extend"),
    )


def extend_view(page: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Let the selected keys end later."""
    if not page.has_change_permission(request):
        raise PermissionDenied
    selection, form = read_selection(request.POST.get("selection", "")), LifetimeForm(request.POST)
    allowed = page.changeable(request).in_bulk(list(selection)).values()
    try:
        refuse_scoped(request, allowed)
    except ValidationError as error:
        form.add_error(None, error)
    if not form.is_valid():
        return extend_page(page, request, selection, form) or HttpResponseRedirect(_list_of(page))
    end = form.cleaned_data["ends_at"]
    rows = [key for key in allowed if key.expires_at is not None and (end is None or key.expires_at < end)]
    said = "Extended without end." if end is None else f"Extended to {end.isoformat(timespec='seconds')}."
    chosen = page.get_queryset(request).filter(pk__in=[key.pk for key in rows])
    count = page.update_rows(request, chosen, said, expires_at=end)
    text = ngettext("%(count)d key extended.", "%(count)d keys extended.", count) % {"count": count}
    page.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
    return HttpResponseRedirect(_list_of(page))


def rotate_page(
    page: ModelAdmin, request: HttpRequest, selection: Selection, form: forms.Form | None = None
) -> HttpResponse | None:
    """Ask how long the former secrets of the selected keys are good."""
    return selection_page(
        page,
        request,
        form or BulkRotateForm(),
        selection,
        "accounts_apikey_rotate_selected",
        title=gettext("Rotate keys"),
        intro=gettext(
            "Each key gets a new secret. They come as one file, this once, or each behind a link of its own. Quotas,"
            " usage and history stay with the keys."
        ),
        submit=gettext("Rotate the keys"),
    )


def rotate_selected_view(page: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Give the selected keys new secrets, all or none, and answer with them or with links to them."""
    if not page.has_change_permission(request):
        raise PermissionDenied
    selection, form = read_selection(request.POST.get("selection", "")), BulkRotateForm(request.POST)
    if form.is_valid():
        allowed = page.changeable(request).in_bulk(list(selection))
        try:
            _refuse_others(selection, allowed)
            refuse_scoped(request, allowed.values())
            with transaction.atomic():
                rotated = keys.rotate_all({pk: selection[pk] for pk in allowed}, form.grace_time())
                page.log_rows(request, [key for key, _secret in rotated], "Rotated with others.")
                return deliver(page, request, rotated, form, _file_name("rotated-keys"))
        except ValidationError as error:
            form.add_error(None, error)
    return rotate_page(page, request, selection, form) or HttpResponseRedirect(_list_of(page))


def issue_page(
    page: ModelAdmin, request: HttpRequest, selection: Selection, form: forms.Form | None = None
) -> HttpResponse | None:
    """Ask what the new keys of the selected people are to be like."""
    return selection_page(
        page,
        request,
        form or IssueForm(),
        selection,
        "accounts_user_issue_keys",
        title=gettext("Issue keys"),
        intro=gettext(
            "Each person gets a key. The secrets come as one file, this once, or each behind a link of its own."
        ),
        submit=gettext("Issue the keys"),
    )


def issue_view(page: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Issue a key to each of the selected people, or to none, and answer with the secrets or links to them."""
    if not request.user.has_perm("accounts.add_apikey") or not page.has_view_permission(request):
        raise PermissionDenied
    selection, form = read_selection(request.POST.get("selection", "")), IssueForm(request.POST)
    if form.is_valid():
        allowed = page.changeable(request) if is_restricted(request) else page.get_queryset(request)
        found = allowed.in_bulk(list(selection))
        people = list(found.values())
        try:
            _refuse_others(selection, found)
            with transaction.atomic():
                issued = _issue(people, form, with_limits=may_limit(request))
                LogEntry.objects.log_actions(
                    user_id=str(request.user.pk),
                    queryset=[key for key, _secret in issued],
                    action_flag=ADDITION,
                    change_message="Issued with others.",
                )
                return deliver(page, request, issued, form, _file_name("keys"))
        except ValidationError as error:
            form.add_error(None, error)
    return issue_page(page, request, selection, form) or HttpResponseRedirect(_list_of(page))


def may_limit(request: HttpRequest) -> bool:
    """Return whether the reader may make and change quotas."""
    return request.user.has_perms(("accounts.add_quota", "accounts.change_quota"))


def refuse_scoped(request: HttpRequest, rows: Iterable[ApiKey]) -> None:
    """Raise `ValidationError` if there are keys among `rows` with which the reader could do more than he may."""
    if not may_give_roles(request) and (scoped := [str(key) for key in rows if key.scope]):
        text = gettext("Only an administrator changes keys that read reports or administer: %(keys)s.")
        raise ValidationError(text % {"keys": ", ".join(scoped[:_SHOWN])})


def _refuse_others(selection: Selection, allowed: Mapping[int, Any]) -> None:
    """Raise `ValidationError` if rows were selected that are not the reader's to change, or are no more."""
    if left := len(set(selection) - set(allowed)):
        text = ngettext(
            "%(count)d of the selected rows is not yours to change. Nothing was done; select anew.",
            "%(count)d of the selected rows are not yours to change. Nothing was done; select anew.",
            left,
        )
        raise ValidationError(text % {"count": left})


def _issue(people: list[User], form: IssueForm, *, with_limits: bool) -> list[tuple[ApiKey, str]]:
    data, limits = form.cleaned_data, {unit: limit for unit, limit in form.limits().items() if limit is not None}
    if limits and not with_limits:
        raise ValidationError(gettext("You may not set limits; leave these fields empty."))
    issued = keys.issue_all(
        people,
        data["name"],
        expires_at=data["ends_at"],
        allowed_models=data["allowed_models"],
        allowed_networks=data["allowed_networks"],
        max_concurrency=data["max_concurrency"],
    )
    set_minute_limits([key for key, _secret in issued], limits)
    return issued


def _file_name(what: str) -> str:
    return f"{what}-{timezone.localtime():%Y%m%d-%H%M%S}.csv"


def _list_of(page: ModelAdmin) -> str:
    return reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist")
