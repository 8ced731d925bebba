"""The page that corrects the books: what is to be added, then what that does, and only then is it booked."""

import uuid
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.closing import MAX_AMOUNT, MAX_TOKENS, Amount, correct, planned
from accounts.models import ApiKey, CallRecord, Correction, User
from accounts.roles import visible
from gateway.admin.books.calls import amount
from gateway.admin_base import ModelAdmin, grouped

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
# What a second click books within this time is what the first one has booked.
_SAME = timedelta(seconds=60)


def _number(label: Any) -> forms.IntegerField:
    return forms.IntegerField(label=label, required=False, min_value=-MAX_TOKENS, max_value=MAX_TOKENS)


class CorrectionForm(forms.Form):
    """What is added to the books, and why. Of a call everything else is known."""

    key = forms.ModelChoiceField(ApiKey.objects.none(), label=_("key"))
    corrects_on = forms.DateField(
        label=_("day"),
        widget=forms.DateInput(attrs={"type": "date"}),
        validators=[MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(9000, 1, 1))],
        help_text=_("The day that the amount belongs to. If its month is closed, today is booked."),
    )
    provider_name = forms.CharField(label=_("provider"), max_length=60, required=False)
    model_name = forms.CharField(label=_("model"), max_length=200, required=False)
    cost = forms.DecimalField(
        label=_("cost"),
        required=False,
        max_digits=18,
        decimal_places=10,
        min_value=-MAX_AMOUNT,
        max_value=MAX_AMOUNT,
        help_text=_("What is added; negative: what is taken off."),
    )
    currency = forms.CharField(label=_("currency"), required=False, max_length=3)
    input_tokens = _number(_("input tokens"))
    output_tokens = _number(_("output tokens"))
    cache_read_tokens = _number(_("cache read tokens"))
    cache_write_tokens = _number(_("cache write tokens"))
    reason = forms.CharField(
        label=_("reason"),
        max_length=300,
        widget=forms.TextInput(attrs={"size": 60}),
        help_text=_("Such as the number of a credit note. It stands in the books for good."),
    )

    def __init__(self, *args: Any, user: User, call: CallRecord | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user, self.call = user, call
        self.planned: Correction | None = None
        if call is not None:
            for name in ("key", "corrects_on", "provider_name", "model_name"):
                del self.fields[name]
            self.fields["currency"].initial = call.currency
        else:
            keys: Any = self.fields["key"]
            keys.queryset = visible(ApiKey.objects.select_related("user"), user)
            keys.widget = AutocompleteSelect(Correction._meta.get_field("key"), admin.site)
            keys.widget.choices = keys.choices

    def clean_currency(self) -> str:
        """Return the currency in capitals."""
        return str(self.cleaned_data["currency"]).strip().upper()

    def clean(self) -> dict[str, Any] | None:
        """Plan the correction, and say at each field what stands against it."""
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                self.planned = planned(**self.arguments())
            except ValidationError as error:
                found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
                for name, texts in found.items():
                    for text in texts:
                        self.add_error(name if name in self.fields else None, text)
        return cleaned

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `accounts.closing.correct`."""
        data = self.cleaned_data
        wanted = Amount(data["cost"] or Decimal(0), data["currency"], *(data[name] or 0 for name in _TOKENS))
        subject: dict[str, Any] = {
            name: data[name] for name in ("key", "corrects_on", "provider_name", "model_name") if name in data
        }
        return {"amount": wanted, "reason": data["reason"], "by": self.user, "call": self.call, **subject}


def correction_view(page: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Ask for a correction, show what it would do, and book it when that is confirmed."""
    if not page.has_add_permission(request) or not isinstance(request.user, User):
        raise PermissionDenied
    call = _call(request)
    form = CorrectionForm(request.POST or None, user=request.user, call=call)
    is_valid = request.method == "POST" and form.is_valid()
    if is_valid and "_confirm" in request.POST:
        assert form.planned is not None
        if (row := _just_booked(form.planned)) is not None:
            page.message_user(request, gettext("This correction was booked a moment ago."), messages.WARNING)
        else:
            row = correct(**form.arguments())
            page.log_addition(request, row, [{"added": {}}])
            text = gettext("Booked on %(day)s: %(amount)s.")
            values = {"day": row.booked_on.isoformat(), "amount": _in_words(row)}
            page.message_user(request, text % values, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:accounts_correction_change", args=(row.pk,)))
    shows_plan = is_valid and "_change" not in request.POST
    context = {
        **page.admin_site.each_context(request),
        "title": gettext("Correct the cost of this call") if call else gettext("Correct the books"),
        "opts": page.opts,
        "form": form,
        "media": page.media + form.media,
        "call": call,
        "facts": _facts_of(call) if call else (),
        "plan": _plan(form.planned) if shows_plan and form.planned else (),
        "has_moved": bool(form.planned and form.planned.booked_on != form.planned.corrects_on),
    }
    return TemplateResponse(request, "admin/accounts/correction/add.html", context)


def _call(request: HttpRequest) -> CallRecord | None:
    """Return the call that the page was opened from. Raises `Http404` for one that is not to be seen."""
    text = request.GET.get("call", "")
    if not text:
        return None
    try:
        pk = uuid.UUID(text)
    except ValueError:
        raise Http404 from None
    calls = visible(CallRecord.objects.select_related("user", "key__user", "team"), request.user)
    call = calls.filter(pk=pk).first()
    if call is None:
        raise Http404
    return call


def _just_booked(row: Correction) -> Correction | None:
    same = ("call_id", "key_id", "cost", "currency", *_TOKENS, "reason", "corrects_on", "made_by_id")
    wanted = {name: getattr(row, name) for name in same}
    return Correction.objects.filter(**wanted, created_at__gte=timezone.now() - _SAME).first()


def _facts_of(call: CallRecord) -> list[tuple[Any, str]]:
    """Return what the call cost, what was corrected of it, and what it costs with that."""
    earlier = list(call.corrections.exclude(cost=0).order_by().values_list("currency").annotate(Sum("cost")))
    facts: list[tuple[Any, str]] = [
        (_("call"), f"{call.request_id} · {call.key} · {call.provider_name}/{call.model_name}"),
        (_("cost"), amount(call.cost, call.currency)),
    ]
    facts += [(_("corrected so far"), amount(cost, currency)) for currency, cost in earlier]
    return facts


def _plan(row: Correction) -> list[tuple[Any, str]]:
    """Return what booking `row` would do, by line."""
    lines: list[tuple[Any, str]] = [
        (_("amount"), _in_words(row)),
        (_("key"), str(row.key)),
        (_("belongs to"), row.corrects_on.isoformat()),
        (_("booked on"), row.booked_on.isoformat()),
        (_("reason"), row.reason),
    ]
    call = row.call
    if call is not None and row.cost and (call.cost is None or call.currency == row.currency):
        so_far = call.corrections.filter(currency=row.currency).aggregate(total=Sum("cost"))["total"] or Decimal(0)
        before = (call.cost or Decimal(0)) + so_far
        change = f"{amount(before, row.currency)} → {amount(before + row.cost, row.currency)}"
        lines.insert(1, (_("cost of the call with its corrections"), change))
    return lines


def _in_words(row: Correction) -> str:
    """Return what a correction adds, such as "-0.50 USD" or "-5 output tokens"."""
    parts = [amount(row.cost, row.currency)] if row.cost else []
    counts = [(Correction._meta.get_field(name), getattr(row, name)) for name in _TOKENS]
    parts += [f"{grouped(count)} {field.verbose_name}" for field, count in counts if count]  # type: ignore[union-attr]
    return ", ".join(parts)
