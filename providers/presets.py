"""One frozen row per platform kind: addresses, wire format, dialect, timeouts, how it authenticates.

A platform that differs only in URL, flags or parameter names is a row here (or in platforms.py, for a vendor or a
model family), never a class. Sources: the platforms' API references, read 2026-05 to 2026-11.
"""

import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from django.core.exceptions import ValidationError

from providers import platforms
from providers.native_dialect import NativeDialect
from providers.platforms import ModelRule
from providers.target import Timeouts
from providers.translation.dialect import Dialect

if TYPE_CHECKING:
    from providers.models import Provider

# bearer: Authorization. api-key: Azure's header. anthropic: by the shape of the credential (clients/anthropic.py).
AuthStyle = Literal["bearer", "api-key", "anthropic"]

# Seconds. A thinking model may be silent for minutes before its first event; a local one may first load its weights.
_CLOUD = Timeouts(connect_s=10, first_event_s=300, idle_s=300, total_s=1800)
_LOCAL = Timeouts(connect_s=5, first_event_s=600, idle_s=600, total_s=1800)


@dataclass(frozen=True, slots=True)
class Preset:
    """What a kind of platform has in common wherever it runs."""

    kind: str
    base_url: str
    anthropic_base_url: str
    dialect: Dialect
    wire_format: str = "openai"
    timeouts: Timeouts = _CLOUD
    auth_style: AuthStyle = "bearer"
    anthropic_auth_style: AuthStyle = "bearer"
    local: bool = False  # runs beside us: private addresses are normal, calls are free
    currency: str = "USD"
    models_path: str = "/models"
    check_path: str = ""  # an authenticated, free GET where the model list does not prove the key
    model_rules: tuple[ModelRule, ...] = ()
    extra_headers: Mapping[str, str] = field(default_factory=dict)


# An unknown server: nothing beyond the plain protocol; the client repairs what is refused. Reasoning in <think> tags is
# recognised at the very start only, where models served without a reasoning parser put it.
_GENERIC = Dialect(think_tags=True)


def _vendor_preset(kind: str, base_url: str, anthropic_base_url: str) -> Preset:
    """Return the preset of a vendor whose dialect platforms.py describes, by the host of its OpenAI address."""
    vendor = platforms.vendor_of(urlsplit(base_url).hostname or "")
    assert vendor is not None
    return Preset(
        kind,
        base_url,
        anthropic_base_url,
        Dialect(**vendor.flags),
        anthropic_auth_style="anthropic",
        model_rules=vendor.model_rules,
    )


PRESETS: dict[str, Preset] = {
    preset.kind: preset
    for preset in (
        Preset("openai_compatible", "https://api.openai.com/v1", "", _GENERIC, anthropic_auth_style="anthropic"),
        Preset(
            "anthropic_compatible",
            "",
            "https://api.anthropic.com",
            _GENERIC,
            wire_format="anthropic",
            anthropic_auth_style="anthropic",
        ),
        Preset(
            "dashscope",
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
            "https://dashscope.aliyuncs.com/apps/anthropic",
            # tool_choice is "auto" or "none" only, and a forced tool fails in thinking mode.
            Dialect(
                thinking_dialect="dashscope",
                top_k=True,
                forced_tools=False,
                image_gif=False,
                image_max_bytes=10 * 1024 * 1024,
            ),
            currency="CNY",
            model_rules=platforms.DASHSCOPE_RULES,
        ),
        Preset(
            "openrouter",
            "https://openrouter.ai/api/v1",
            "https://openrouter.ai/api",
            Dialect(
                thinking_dialect="openrouter",
                reasoning_replay="reasoning_details",
                top_k=True,
                pdf=True,
                system_mid="preserve",
                cache_ttl=False,
                prefill=True,
            ),
            check_path="/key",  # the model list is public
            model_rules=platforms.OPENROUTER_RULES,
            extra_headers={"x-openrouter-title": "Wolfgate", "x-title": "Wolfgate"},
        ),
        Preset(
            "siliconflow",
            "https://api.siliconflow.cn/v1",
            "https://api.siliconflow.cn",
            # Its validator answers 400 (code 20015) to a null.
            Dialect(thinking_dialect="siliconflow", top_k=True, think_tags=True, null_content=""),
            currency="CNY",
            models_path="/models?sub_type=chat",
            check_path="/user/info",
            model_rules=platforms.SILICONFLOW_RULES,
        ),
        Preset(
            "ollama",
            "http://127.0.0.1:11434/v1",
            "http://127.0.0.1:11434",
            Dialect(
                thinking_dialect="ollama",
                forced_tools=False,  # ignored in both compatible modes
                parallel_tool_calls=False,
                buffer_tool_args=True,
                think_tags=True,
                null_content="",
                image_urls=False,
                image_gif=False,
                image_webp=False,
            ),
            timeouts=_LOCAL,
            local=True,
            models_path="/api/tags",
        ),
        Preset(
            "lmstudio",
            "http://127.0.0.1:1234/v1",
            "http://127.0.0.1:1234",
            Dialect(
                thinking_dialect="template",
                top_k=True,
                think_tags=True,
                buffer_tool_args=True,
                null_content="",
                image_urls=False,
                image_gif=False,
                image_webp=False,
            ),
            timeouts=_LOCAL,
            local=True,
            models_path="/api/v1/models",
        ),
        Preset(
            "llamacpp",
            "http://127.0.0.1:8080/v1",
            "http://127.0.0.1:8080",
            Dialect(
                thinking_dialect="template",
                reasoning_replay="reasoning_content",
                top_k=True,
                think_tags=True,
                tool_images="inline",
                buffer_tool_args=True,
                prefill=True,
                image_urls=False,
                image_webp=False,  # stb_image reads no WebP
            ),
            timeouts=_LOCAL,
            local=True,
        ),
        _vendor_preset("deepseek", "https://api.deepseek.com/v1", "https://api.deepseek.com/anthropic"),
        _vendor_preset("kimi", "https://api.moonshot.cn/v1", "https://api.moonshot.cn/anthropic"),
        _vendor_preset("zhipu", "https://open.bigmodel.cn/api/paas/v4", "https://open.bigmodel.cn/api/anthropic"),
        _vendor_preset("minimax", "https://api.minimaxi.com/v1", "https://api.minimaxi.com/anthropic"),
    )
}

# Of both wire formats: those of the Messages endpoint begin with "native_".
FLAG_TYPES: Mapping[str, Any] = typing.get_type_hints(Dialect) | typing.get_type_hints(NativeDialect)
FLAG_NAMES = tuple(FLAG_TYPES)
_DIALECT_FIELDS = frozenset(item.name for item in fields(Dialect))
# What people paste: the address of an endpoint instead of the base.
_PASTED = re.compile(r"/(chat/completions|completions|responses|embeddings|models|messages/count_tokens|messages)$")
_VERSION = re.compile(r"^v\d+(?:\.\d+)*(?:alpha|beta)?\d*$")


def check_flags(flags: Any) -> Iterable[str]:
    """Yield one sentence per fault of a provider's or model's `flags`, each naming the flag."""
    if not isinstance(flags, Mapping):
        yield "flags must be a JSON object"
        return
    for name, value in flags.items():
        expected = FLAG_TYPES.get(name)
        if expected is None:
            yield f"{name}: unknown flag; known are {', '.join(FLAG_NAMES)}"
        elif expected is bool:
            if not isinstance(value, bool):
                yield f"{name}: must be true or false"
        elif expected is int:
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                yield f"{name}: must be a positive whole number"
        elif value not in (choices := typing.get_args(expected)) or isinstance(value, bool):
            yield f"{name}: must be one of {', '.join('null' if c is None else repr(c) for c in choices)}"


def validate_flags(flags: Any) -> None:
    """Raise `ValidationError` naming each flag that is unknown or has the wrong type."""
    if faults := list(check_flags(flags)):
        raise ValidationError(faults)


def valid_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags that pass `check_flags`: one bad flag must not take every model out of service."""
    return {name: value for name, value in flags.items() if not any(check_flags({name: value}))}


def dialect_for(
    kind: str,
    provider_flags: Mapping[str, Any],
    model_flags: Mapping[str, Any],
    capabilities: Iterable[str] | None,
    *,
    base_url: str = "",
    model_id: str = "",
) -> Dialect:
    """Return the dialect of a model: preset, vendor, model family, capabilities, provider's and model's flags, in turn.

    Flags that fail `check_flags` are left out: rows are validated when they are saved.
    """
    preset = PRESETS[kind]
    merged: dict[str, Any] = {}
    rules = preset.model_rules
    if kind == "openai_compatible":
        vendor = platforms.vendor_of(urlsplit(base_url or preset.base_url).hostname or "")
        if vendor is not None:
            merged["think_tags"] = False
            merged.update(vendor.flags)
            rules = vendor.model_rules
    lowered = model_id.lower()
    for rule in rules:
        if rule.pattern.search(lowered):
            merged.update(rule.flags)
    if capabilities is not None:
        known = frozenset(capabilities)
        merged["vision"] = "vision" in known
        merged["pdf"] = "pdf" in known
        if "thinking" not in known:
            merged["thinking"] = False
    for flags in (provider_flags, model_flags):
        merged.update((name, value) for name, value in valid_flags(flags).items() if name in _DIALECT_FIELDS)
    return replace(preset.dialect, **merged)


@lru_cache(maxsize=2048)
def endpoint(base_url: str, wire_format: str, path: str) -> str:
    """Return the URL of `path` (such as "/chat/completions" or "/messages") under `base_url`.

    The base may come with or without the version segment and with the path of an endpoint pasted behind it. A base
    that has a version of its own (Zhipu's /paas/v4, Azure's /openai/v1) keeps it. A query of the base is kept.
    """
    parts = urlsplit(base_url.strip())
    base = parts.path.rstrip("/")
    base = _PASTED.sub("", base).rstrip("/")
    if wire_format == "anthropic":
        base = re.sub(r"/v1$", "", base)
        # 百炼 serves both formats on one host.
        base = re.sub(r"/compatible-mode$", "/apps/anthropic", base) + "/v1"
    else:
        base = re.sub(r"/apps/anthropic(/v1)?$", "/compatible-mode/v1", base)
        if not any(_VERSION.match(segment) for segment in base.split("/")):
            base += "/v1"
    path, _mark, query = path.partition("?")
    query = "&".join(filter(None, (parts.query, query)))
    return urlunsplit((parts.scheme, parts.netloc, base + path, query, ""))


@lru_cache(maxsize=256)
def server_root(base_url: str) -> str:
    """Return the address of the server under `base_url`, for native paths such as Ollama's /api/tags."""
    parts = urlsplit(base_url.strip())
    base = re.sub(r"/(?:api/)?v\d+$", "", _PASTED.sub("", parts.path.rstrip("/")).rstrip("/"))
    return urlunsplit((parts.scheme, parts.netloc, re.sub(r"/api$", "", base), "", ""))


def base_url_of(kind: str, base_url: str, wire_format: str) -> str:
    """Return the base URL in use: the provider's own, else that of its kind for the wire format; no trailing slash."""
    preset = PRESETS[kind]
    chosen = base_url or (preset.anthropic_base_url if wire_format == "anthropic" else preset.base_url)
    return chosen.strip().rstrip("/")


@lru_cache(maxsize=512)
def auth_style_of(kind: str, base_url: str, wire_format: str) -> AuthStyle:
    """Return how a call of this kind, at this address, in this wire format carries its credential."""
    preset = PRESETS[kind]
    if wire_format == "anthropic":
        return preset.anthropic_auth_style
    vendor = platforms.vendor_of(urlsplit(base_url).hostname or "") if kind == "openai_compatible" else None
    return "api-key" if vendor is not None and vendor.auth_style == "api-key" else preset.auth_style


def credential_headers(kind: str, base_url: str, wire_format: str, secret: str) -> dict[str, str]:
    """Return the headers that carry `secret`.

    On the Anthropic wire a key of Anthropic's own goes where its API wants it: x-api-key, or Authorization for the
    OAuth token of a subscription. Of other relays most take Authorization and some only x-api-key; both carry the same
    secret to the same host, so both are sent.
    """
    bearer = {"authorization": f"Bearer {secret}"}
    match auth_style_of(kind, base_url, wire_format):
        case "api-key":
            return {"api-key": secret}
        case "anthropic":
            if secret.startswith("sk-ant-oat"):
                return bearer
            api_key = {"x-api-key": secret}
            return api_key if secret.startswith("sk-ant-") else bearer | api_key
    return bearer


def wire_format_of(provider: "Provider") -> str:
    """Return the wire format in use: the provider's own, else that of its kind."""
    return provider.wire_format or PRESETS[provider.kind].wire_format
