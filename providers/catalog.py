"""What a provider offers, and whether it answers: the list of models and the connection test. Sync, for the admin.

Nothing here costs tokens, unless a chat is asked for. Source of the order of the tests: the platforms' API references,
read 2026-05 to 2026-11.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext as _

from providers import config_version
from providers.errors import ErrorKind, UpstreamError
from providers.model_lists import FoundModel
from providers.models import Model, Price, Provider
from providers.platform_calls import Platform, open_platform
from providers.platforms import vendor_of
from providers.presets import PRESETS, endpoint

# Sent within the transaction of a refresh, which writes in bulk: `provider`, the model ids that are `added`, `changed`
# and `missing`, and the rows of new `prices`.
refreshed = Signal()

_MAX_RESULT = 300
# Where a price is from that a refresh brought.
_LIST_NOTE = "the platform's list of models"


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """How many models a refresh added and changed, and how many rows the platform does not list (any more)."""

    added: int
    updated: int
    missing: int


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a connection test found. `chat_ok` is None when no chat was tried."""

    reachable: bool
    authenticated: bool
    model_count: int | None
    latency_ms: float
    chat_ok: bool | None
    message: str


def refresh_models(provider: Provider, *, transport: httpx.BaseTransport | None = None) -> RefreshResult:
    """Read the platform's list into the provider's `Model` rows. Raises `UpstreamError`.

    New models are added, changed ones updated, those no longer listed marked with `missing_since` and never deleted;
    rows entered by hand are left alone. Where the list has prices they are appended, unless an administrator or the
    configuration has set one.
    """
    with open_platform(provider, transport) as platform:
        found = {model.model_id: model for model in platform.models()}
        if not found:
            raise platform.error(ErrorKind.BAD_RESPONSE, "the list of models is empty")
    with transaction.atomic():
        rows = {row.model_id: row for row in Model.objects.filter(provider=provider)}
        new = [_row(provider, model) for name, model in found.items() if name not in rows]
        Model.objects.bulk_create(new)
        changed = [
            row for name, row in rows.items() if name in found and not row.is_manual and _update(row, found[name])
        ]
        gone = [row for name, row in rows.items() if name not in found and not row.is_manual]
        newly_gone = [row for row in gone if row.missing_since is None]
        now = timezone.now()
        for row in (*changed, *newly_gone):
            row.updated_at = now
        for row in newly_gone:
            row.missing_since = now
        fields = ["display_name", "context_window", "max_output_tokens", "capabilities", "missing_since", "updated_at"]
        Model.objects.bulk_update([*changed, *newly_gone], fields)
        new_prices = _append_prices([*new, *(row for name, row in rows.items() if name in found)], found)
        if new or changed or newly_gone or new_prices:
            config_version.bump()  # bulk operations send no signal
        refreshed.send(
            sender=Provider,
            provider=provider,
            added=[row.model_id for row in new],
            changed=[row.model_id for row in changed],
            missing=[row.model_id for row in newly_gone],
            prices=new_prices,
        )
    return RefreshResult(len(new), len(changed), len(gone))


def test_connection(
    provider: Provider,
    *,
    chat_model: str = "",  # noqa: PT028  (this is no test)
    transport: httpx.BaseTransport | None = None,  # noqa: PT028
) -> CheckResult:
    """Say whether the provider can be reached, takes the credential and has models, and store the result in its row.

    With `chat_model`, that model is also asked for one word, which costs a few tokens. Never raises for a fault of
    the platform.
    """
    begin = time.monotonic()
    latency_ms = 0.0
    chat_ok: bool | None = None
    model_count: int | None = None
    reachable = authenticated = False
    try:
        with open_platform(provider, transport) as platform:
            latency_ms, notes = _authenticate(platform, begin)
            authenticated = bool(latency_ms)
            try:
                model_count = len(platform.models())
                notes.append(_("%(count)d models listed.") % {"count": model_count})
            except UpstreamError as error:
                if error.kind in (ErrorKind.UNREACHABLE, ErrorKind.TIMEOUT, ErrorKind.AUTH):
                    raise
                _probe(platform)
                notes.append(_("It has no list of models; enter them by hand."))
            reachable = authenticated = True
            latency_ms = latency_ms or (time.monotonic() - begin) * 1000
            if chat_model:
                chat_ok = False
                _chat(platform, chat_model)
                chat_ok = True
                notes.append(_("%(model)s answers.") % {"model": chat_model})
            message = " ".join(notes)
    except UpstreamError as error:
        reachable = error.kind not in (ErrorKind.UNREACHABLE, ErrorKind.TIMEOUT)
        authenticated = authenticated and error.kind is not ErrorKind.AUTH
        message = error.message
    latency_ms = latency_ms or (time.monotonic() - begin) * 1000
    # An update sends no signal and should not: nothing that routing reads has changed.
    Provider.objects.filter(pk=provider.pk).update(checked_at=timezone.now(), check_result=message[:_MAX_RESULT])
    return CheckResult(reachable, authenticated, model_count, latency_ms, chat_ok, message)


# pytest would take it for a test of its own wherever it is imported.
test_connection.__test__ = False  # type: ignore[attr-defined]


def _authenticate(platform: Platform, begin: float) -> tuple[float, list[str]]:
    """Ask what only a valid credential gets, where the list of models does not tell; return the latency and notes.

    The latency is 0 where there is nothing to ask. Raises `UpstreamError`.
    """
    vendor = vendor_of(urlsplit(platform.base_url).hostname or "")
    path = PRESETS[platform.provider.kind].check_path
    if platform.wire_format == "openai" and path:
        answer = platform.ask(endpoint(platform.base_url, "openai", path))
    elif (
        platform.wire_format == "openai"
        and platform.provider.kind == "openai_compatible"
        and vendor
        and vendor.balance_path
    ):
        answer = platform.ask(platform.root + vendor.balance_path)
    else:
        return 0.0, []
    latency_ms = (time.monotonic() - begin) * 1000
    balance = _balance(answer)
    return latency_ms, [_("Balance: %(balance)s.") % {"balance": balance}] if balance else []


def _balance(answer: Any) -> str:
    """Return what is left to spend: OpenRouter's /key, SiliconFlow's /user/info, the balance of DeepSeek and Kimi."""
    data = answer.get("data", answer) if isinstance(answer, Mapping) else {}
    if not isinstance(data, Mapping):
        return ""
    infos = data.get("balance_infos")
    if isinstance(infos, list) and infos and isinstance(infos[0], Mapping):
        return f"{infos[0].get('total_balance')} {infos[0].get('currency')}"
    for name in ("limit_remaining", "totalBalance", "available_balance"):
        if data.get(name) is not None:
            return str(data[name])
    return ""


def _probe(platform: Platform) -> None:
    """Ask what costs nothing and tells a good credential from a bad one. Raises `UpstreamError` unless it is taken."""
    if platform.wire_format == "anthropic":
        messages = [{"role": "user", "content": "hi"}]
        try:
            platform.ask(
                endpoint(platform.base_url, "anthropic", "/messages/count_tokens"),
                {"model": "none", "messages": messages},
            )
            return
        except UpstreamError as error:
            if error.kind in (ErrorKind.AUTH, ErrorKind.UNREACHABLE, ErrorKind.TIMEOUT):
                raise
        url = endpoint(platform.base_url, "anthropic", "/messages")
        body: dict[str, Any] = {"model": "none", "max_tokens": 1, "messages": []}
    else:
        url = endpoint(platform.base_url, "openai", "/chat/completions")
        body = {"model": "none", "messages": []}
    try:
        platform.ask(url, body)
    except UpstreamError as error:
        # The request is refused for what it asks, so the credential was taken. A page, or a 404 without a word on the
        # model, is no API at all.
        is_api = error.status in (400, 422) or (error.status == 404 and "model" in error.message.lower())
        if not is_api or error.kind in (ErrorKind.AUTH, ErrorKind.INSUFFICIENT_FUNDS):
            raise


def _chat(platform: Platform, model: str) -> None:
    """Ask `model` for a word. Raises `UpstreamError`."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Say OK."}]}
    if platform.wire_format == "anthropic":
        answer = platform.ask(endpoint(platform.base_url, "anthropic", "/messages"), {**body, "max_tokens": 16})
    else:
        answer = platform.ask(endpoint(platform.base_url, "openai", "/chat/completions"), body)
    if not isinstance(answer, Mapping) or not (answer.get("choices") or answer.get("content")):
        raise platform.error(ErrorKind.BAD_RESPONSE, "the model gave no answer")


def _row(provider: Provider, model: FoundModel) -> Model:
    return Model(
        provider=provider,
        model_id=model.model_id,
        display_name=model.display_name,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=None if model.capabilities is None else list(model.capabilities),
    )


def _update(row: Model, model: FoundModel) -> bool:
    """Take over what the list says; say whether anything changed. What it does not say stays."""
    values: dict[str, Any] = {
        "display_name": model.display_name or None,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "capabilities": None if model.capabilities is None else list(model.capabilities),
    }
    changes = {name: value for name, value in values.items() if value is not None and getattr(row, name) != value}
    if row.missing_since is not None:
        changes["missing_since"] = None
    for name, value in changes.items():
        setattr(row, name, value)
    return bool(changes)


def _append_prices(rows: list[Model], found: Mapping[str, FoundModel]) -> list[Price]:
    """Append the list's prices where they differ from the last ones, and return those."""
    priced = {row.pk: (row, price) for row in rows if (price := found[row.model_id].price) is not None}
    if not priced:
        return []
    newest = Price.objects.filter(model=OuterRef("model")).order_by("-valid_from", "-pk").values("pk")[:1]
    last = {row.model_id: row for row in Price.objects.filter(model__in=priced, pk=Subquery(newest))}
    new = []
    for pk, (row, price) in priced.items():
        found_row = Price(
            model=row,
            currency="USD",
            input_per_million=price.input,
            output_per_million=price.output,
            cache_read_per_million=price.cache_read,
            cache_write_per_million=price.cache_write,
            cache_write_1h_per_million=price.cache_write_1h,
            source=Price.Source.BUNDLED,
            source_note=_LIST_NOTE,
        )
        before = last.get(pk)
        if before is not None and (before.source != Price.Source.BUNDLED or before.values() == found_row.values()):
            continue
        new.append(found_row)
    return Price.objects.bulk_create(new)
