"""The self-test in the admin: the buttons that run it, the compatibility card of a model, and its mark in the list."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from gateway.admin_base import ModelAdmin, row_link
from gateway.selftest import check_and_store, models_to_test, write_found
from gateway.selftest_texts import listed, mark_of, name_of, sentence_of, totals_of
from providers.models import Model, Provider
from providers.selftest import Card, Options, found_values, is_usable, was_tried

# A browser waits for the answer.
_LIMIT_S = 180.0


def _back(request: HttpRequest, model: type[Provider] | type[Model]) -> HttpResponse | None:
    """Return the way back to the page of the row whose button was pressed, None to the list."""
    pk = request.POST.get("from_form", "")
    if not pk.isdigit():
        return None
    return HttpResponseRedirect(reverse(f"admin:providers_{model._meta.model_name}_change", args=(pk,)))


def _run(page: ModelAdmin, request: HttpRequest, models: Sequence[Model], *, long_prompts: bool) -> None:
    """Test `models`, and report each."""
    cards = check_and_store(models, Options(long_prompts=long_prompts, total_limit_s=_LIMIT_S))
    for model, card in zip(models, cards, strict=True):
        good, tried = _count(card)
        values = {"model": row_link(model), "good": good, "tried": tried, "totals": totals_of(card)}
        if not was_tried(card):
            level, text = messages.WARNING, gettext("There was no time left to test {model}.")
        elif is_usable(card):
            level, text = messages.SUCCESS, gettext("Self-test of {model}: {good} of {tried} work. {totals}.")
        else:
            level, text = messages.ERROR, gettext("Self-test of {model}: it cannot be used as it is. {totals}.")
        page.message_user(request, format_html(text, **values), level)
        page.log_rows(request, [model], f"Self-test: {good} of {tried} work.")


@admin.action(permissions=["change"], description=_("Run the self-test (costs some thousand tokens)"))
def self_test_provider(page: ModelAdmin, request: HttpRequest, queryset: QuerySet[Provider]) -> HttpResponse | None:
    """Test the first models of each provider, those that routes lead to first."""
    models: list[Model] = []
    for provider in queryset:
        found = models_to_test(provider)
        models += found
        if not found:
            text = gettext("The provider %(provider)s has no enabled model to test; refresh its list first.")
            page.message_user(request, text % {"provider": provider.name}, messages.ERROR)
    _run(page, request, models, long_prompts=False)
    return _back(request, Provider)


@admin.action(permissions=["change"], description=_("Run the self-test (costs some thousand tokens)"))
def self_test(page: ModelAdmin, request: HttpRequest, queryset: QuerySet[Model]) -> HttpResponse | None:
    """Test the models."""
    _run(page, request, list(queryset), long_prompts=False)
    return _back(request, Model)


@admin.action(permissions=["change"], description=_("Run the self-test with long prompts (costs much more)"))
def self_test_long(page: ModelAdmin, request: HttpRequest, queryset: QuerySet[Model]) -> HttpResponse | None:
    """Test the models, also with prompts that fill their context windows."""
    _run(page, request, list(queryset), long_prompts=True)
    return _back(request, Model)


@admin.action(permissions=["change"], description=_("Write the found capabilities to the model"))
def write_capabilities(page: ModelAdmin, request: HttpRequest, queryset: QuerySet[Model]) -> HttpResponse | None:
    """Write what the cards found into the models' rows."""
    written = []
    for model in queryset:
        if fields := write_found(model):
            page.log_rows(request, [model], f"Wrote what the self-test found: {', '.join(fields)}.")
            written.append(model)
    count = len(written)
    text = ngettext("%(count)d model changed.", "%(count)d models changed.", count) % {"count": count}
    page.message_user(request, text, messages.SUCCESS if written else messages.INFO)
    return _back(request, Model)


def _count(card: Card) -> tuple[int, int]:
    """Return how many rows work, of how many that were tried."""
    statuses = [row.get("status") for row in card["rows"]]
    return statuses.count("ok"), len(statuses) - statuses.count("skipped")


@admin.display(description=_("self-test"), ordering="compatibility_checked_at")
def compatibility_mark(model: Model) -> SafeString | str:
    """Return a sign and how many rows of the card work."""
    card = model.compatibility
    if not isinstance(card, dict):
        return "-"
    good, tried = _count(card)
    status = "no" if not is_usable(card) else "ok" if good == tried else "partial"
    sign, word = mark_of(status)
    return format_html('<span class="mark {}" title="{}">{} {}/{}</span>', status, word, sign, good, tried)


def _row(row: dict[str, Any]) -> tuple[Any, ...]:
    sign, word = mark_of(row["status"])
    latency_ms = row["latency_ms"]
    took = "" if not latency_ms else f"{latency_ms} ms" if latency_ms < 1000 else f"{latency_ms / 1000:.1f} s"
    used = row["input_tokens"] + row["output_tokens"]
    return row["status"], word, sign, name_of(row), sentence_of(row), took, f"{used:,}" if used else ""


@admin.display(description=_("compatibility card"))
def compatibility_card(model: Model) -> SafeString | str:
    """Return what the last self-test found, as a table."""
    card = model.compatibility
    if not isinstance(card, dict):
        return gettext("Not tested yet.")
    rows = format_html_join(
        "",
        '<tr><td class="mark {}"><span title="{}">{}</span></td><th scope="row">{}</th><td>{}</td>'
        '<td class="number">{}</td><td class="number">{}</td></tr>',
        (_row(row) for row in card["rows"]),
    )
    heads = (gettext("feature"), gettext("finding"), gettext("time"), gettext("tokens"))
    facts = [
        (gettext("wire format"), dict(Provider.WireFormat.choices).get(card["wire_format"], card["wire_format"])),
        (gettext("found capabilities"), listed(card["capabilities"])),
        (gettext("not decided"), listed(card.get("unknown"))),
        (gettext("flags that it needs"), listed(card["flags"])),
        (gettext("flags worth a try"), listed(card["hints"])),
        (gettext("used by the test"), totals_of(card)),
    ]
    return format_html(
        '<table class="compatibility"><thead><tr><th></th><th>{}</th><th>{}</th><th class="number">{}</th>'
        '<th class="number">{}</th></tr></thead><tbody>{}</tbody></table><dl class="compatibility">{}</dl>'
        '<p class="help">{}</p>',
        *heads,
        rows,
        format_html_join("", "<div><dt>{}</dt><dd>{}</dd></div>", facts),
        gettext("The calls of the self-test belong to no key and are not in the books."),
    )


# Functions of a row stand for fields; django-stubs knows those in `list_display` only.
FIELDS: Any = ("compatibility_checked_at", compatibility_card)


def has_news(model: Model | None) -> bool:
    """Say whether the card of `model` has anything that its row does not."""
    return model is not None and bool(found_values(model))
