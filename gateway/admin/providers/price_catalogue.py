"""The price catalogue: what each model costs today and why, when that changes, what no price was known for."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import CallRecord, Correction, UsageDaily
from accounts.roles import visible
from accounts.unpriced import unpriced_by_model
from gateway.admin_base import exact_time, grouped, list_link, row_link
from providers.models import Model, Price, Provider
from providers.presets import PRESETS, base_url_of
from providers.price_rows import hours_of, next_change, price_list_of, rows_in_force
from providers.pricing import listed_schedule, origin_of, price_list_for
from providers.target import Hours, PriceList, price_in_force
from routing.models import RuntimeSettings

_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class Figures:
    """A price as the page shows it."""

    currency: str
    amounts: list[str]  # input, output, cache read, cache write, cache write for an hour
    tiers: str
    hours: str
    source: str
    origin: str


@dataclass(slots=True)
class Entry:
    """A model with what it costs."""

    provider_name: str
    model_name: str
    name: SafeString | str
    prices: list[Figures] = field(default_factory=list)  # the one without hours last
    changes_at: datetime | None = None
    unpriced_calls: int = 0
    unpriced_tokens: int = 0

    @property
    def change_text(self) -> SafeString | str:
        """When another price comes into force."""
        return exact_time(self.changes_at)

    @property
    def calls_link(self) -> SafeString | str:
        """A link to the calls that cost nothing for want of a price."""
        if not self.unpriced_calls:
            return ""
        filters = {"cost": "unpriced", "provider_name": self.provider_name, "q": self.model_name}
        return list_link(CallRecord, grouped(self.unpriced_calls), **filters)

    @property
    def tokens_text(self) -> str:
        """How many tokens those calls used."""
        return grouped(self.unpriced_tokens) if self.unpriced_calls else ""


class FilterForm(forms.Form):
    """Which models are listed."""

    q = forms.CharField(required=False, label=_("model"), max_length=200)
    provider = forms.ModelChoiceField(Provider.objects.order_by("name"), required=False, label=_("provider"))
    only = forms.ChoiceField(
        required=False,
        label=_("only"),
        choices=[("", _("all")), ("unpriced", _("unpriced")), ("changing", _("price changes soon"))],
    )


def catalogue_view(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show the catalogue, all of it or what the form asks for."""
    if not request.user.has_perm("providers.view_price"):
        raise PermissionDenied
    form = FilterForm(request.GET or None)
    chosen: dict[str, Any] = form.cleaned_data if form.is_bound and form.is_valid() else {}
    usage = visible(UsageDaily.objects.all(), request.user)
    corrections = visible(Correction.objects.all(), request.user)
    entries = _entries(chosen.get("q", "").strip(), chosen.get("provider"), usage, corrections)
    only = chosen.get("only", "")
    if only == "unpriced":
        entries = [entry for entry in entries if not entry.prices or entry.unpriced_calls]
        entries.sort(key=lambda entry: -entry.unpriced_calls)
    elif only == "changing":
        entries = [entry for entry in entries if entry.changes_at is not None]
        entries.sort(key=lambda entry: str(entry.changes_at))
    page = Paginator(entries, _PER_PAGE).get_page(request.GET.get("p"))
    rest = request.GET.copy()
    rest.pop("p", None)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": gettext("Price catalogue"),
        "opts": Price._meta,
        "form": form if form.is_bound else FilterForm(),
        "page": page,
        "query": rest.urlencode(),
        "sees_calls": request.user.has_perm("accounts.view_callrecord"),
    }
    return TemplateResponse(request, "admin/providers/price/catalogue.html", context)


def _entries(term: str, provider: Provider | None, usage: QuerySet[Any], corrections: QuerySet[Any]) -> list[Entry]:
    """Return the models, then the names without a row of their own that calls without a price were answered under.

    The calls are those of `usage` and `corrections`.
    """
    models = Model.objects.select_related("provider").order_by("provider__name", "model_id")
    rows = Price.objects.all()
    if provider is not None:
        models, rows = models.filter(provider=provider), rows.filter(model__provider=provider)
    if term:
        models = models.filter(Q(model_id__icontains=term) | Q(display_name__icontains=term))
    prices: dict[int, list[Price]] = defaultdict(list)
    for row in rows:
        prices[row.model_id].append(row)
    unpriced = _unpriced(term, provider, usage, corrections)
    zone, now = ZoneInfo(RuntimeSettings.load().business_time_zone), timezone.now()
    entries = []
    for model in models:
        entry = Entry(model.provider.name, model.model_id, row_link(model))
        entry.prices = list(_figures(model, rows_in_force(prices[model.pk], now), zone))
        entry.changes_at = next_change(prices[model.pk], now)
        entry.unpriced_calls, entry.unpriced_tokens = unpriced.pop((entry.provider_name, entry.model_name), (0, 0))
        entries.append(entry)
    for (provider_name, model_name), (calls, tokens) in unpriced.items():
        name = f"{provider_name}/{model_name}"
        entries.append(Entry(provider_name, model_name, name, unpriced_calls=calls, unpriced_tokens=tokens))
    return entries


def _unpriced(
    term: str, provider: Provider | None, usage: QuerySet[Any], corrections: QuerySet[Any]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Return (provider, model) -> the number of calls without a price, and of their tokens."""
    if provider is not None:
        usage, corrections = (rows.filter(provider_name=provider.name) for rows in (usage, corrections))
    if term:
        usage, corrections = (rows.filter(model_name__icontains=term) for rows in (usage, corrections))
    return unpriced_by_model(usage, corrections)


def _figures(model: Model, rows: list[Price], zone: ZoneInfo) -> Iterable[Figures]:
    for row in rows:
        source = " · ".join(str(part) for part in (row.get_source_display(), row.source_note) if part)
        yield _shown(price_list_of(row), hours_of(row, zone), source, exact_time(row.valid_from))
    if rows and rows[-1].time_from is None:
        return
    provider = model.provider
    preset = PRESETS.get(provider.kind)
    if preset is None:
        return
    base_url = base_url_of(provider.kind, provider.base_url, provider.wire_format or preset.wire_format)
    listed = price_list_for(provider.kind, base_url, model.model_id)
    if listed is None:
        return
    source = str(CallRecord.CostSource(listed.source).label)
    origin = origin_of(listed, provider.kind, base_url, model.model_id)
    schedule = listed_schedule(provider.kind, base_url, model.model_id) if listed.source == "catalogue" else ()
    for each in schedule:
        if each.hours is not None:
            yield _shown(each.price, each.hours, source, origin)
    always = [each for each in schedule if each.hours is None]
    yield _shown(price_in_force(always, timezone.now()) or listed, None, source, origin)


def _shown(price: PriceList, hours: Hours | None, source: str, origin: str) -> Figures:
    for_1h = price.cache_write if price.cache_write_1h is None else price.cache_write_1h
    amounts = [price.input, price.output, price.cache_read, price.cache_write, for_1h]
    return Figures(
        price.currency, [grouped(each) for each in amounts], tiers_text(price), hours_text(hours), source, origin
    )


def tiers_text(price: PriceList) -> str:
    """Return the tiers of a price in words, such as "above 32,000 tokens 6 / 24"."""
    return "; ".join(
        gettext("above %(tokens)s tokens %(input)s / %(output)s")
        % {"tokens": grouped(tier.above_tokens), "input": grouped(tier.input), "output": grouped(tier.output)}
        for tier in price.tiers
    )


def hours_text(hours: Hours | None) -> str:
    """Return a span of the day in words, "" for the whole day."""
    return f"{hours.begin:%H:%M}–{hours.end:%H:%M} {hours.zone.key}" if hours else ""
