"""Reads the platforms' lists of models: JSON in, what we keep of each model out. No I/O.

Every platform adds members of its own to the plain {"data": [{"id"}]}; the names below say whose they are.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any


@dataclass(frozen=True, slots=True)
class FoundPrice:
    """USD per million tokens, as a list states it."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model in a platform's list. None: the list does not say."""

    model_id: str
    display_name: str = ""
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: tuple[str, ...] | None = None
    price: FoundPrice | None = None


class NotAList(ValueError):
    """A document is no list of models."""


_MAX_ID = 200
_WINDOW_MEMBERS = (
    "context_length",  # OpenRouter, Together
    "context_window",  # Groq
    "max_model_len",  # vLLM
    "loaded_context_length",  # LM Studio: what is in memory, before what the model could
    "max_context_length",  # LM Studio, Mistral
    "max_input_tokens",  # Anthropic
)
_OUTPUT_MEMBERS = ("max_output_tokens", "max_completion_tokens", "max_tokens")
# What some lists call models that do not chat.
_OTHER_TYPES = frozenset({"embedding", "embeddings", "image", "audio", "rerank", "moderation", "video", "transcribe"})
# 百炼 and OpenAI list everything they serve, by id alone.
_OTHER_IDS = re.compile(
    r"^(?:wan\d|wanx|qwen-image|cosyvoice|paraformer|sambert|gummy|emo-|liveportrait|flux|stable-diffusion|multimodal-embed"
    r"|dall-e|whisper|tts-|sora|gpt-image|omni-moderation|text-moderation|babbage|davinci|gpt-realtime|gpt-audio)"
    r"|embedding|rerank|-asr|-tts|-mt-|-realtime|-transcribe|-livetranslate|-image-edit|-ocr-"
)


def read_list(document: Any, *, hides_other_kinds: bool = False) -> list[FoundModel]:
    """Return the models in an OpenAI or Anthropic list: `{"data": […]}`, `{"models": […]}` or a bare array (Together).

    With `hides_other_kinds`, models are left out whose id says that they do not chat. Raises `NotAList`.
    """
    if isinstance(document, Mapping):
        document = document.get("data", document.get("models"))
    if not isinstance(document, list):
        raise NotAList
    found: dict[str, FoundModel] = {}
    for item in document:
        if isinstance(item, str):
            item = {"id": item}
        model = _model(item) if isinstance(item, Mapping) else None
        if model is not None and not (hides_other_kinds and _OTHER_IDS.search(model.model_id.lower())):
            found.setdefault(model.model_id, model)
    return list(found.values())


def _model(item: Mapping[str, Any]) -> FoundModel | None:
    model_id = next((item[name] for name in ("id", "key", "model", "name") if _is_id(item.get(name))), None)
    if model_id is None or item.get("type") in _OTHER_TYPES:
        return None
    if model_id.endswith(":batch") or model_id.startswith("~"):  # OpenRouter: not for calls, and an alias
        return None
    meta, top = _mapping(item.get("meta")), _mapping(item.get("top_provider"))
    window = (
        _loaded_window(item.get("loaded_instances"))
        or _whole(top.get("context_length"))
        or next(filter(None, (_whole(item.get(name)) for name in _WINDOW_MEMBERS)), None)
        or _whole(meta.get("n_ctx"))
        or _whole(meta.get("n_ctx_train"))  # llama.cpp
    )
    output = _whole(top.get("max_completion_tokens")) or next(
        filter(None, (_whole(item.get(name)) for name in _OUTPUT_MEMBERS)), None
    )
    name = item.get("display_name") or item.get("name")
    return FoundModel(
        model_id=model_id,
        display_name=name[:_MAX_ID] if isinstance(name, str) and name != model_id else "",
        context_window=window,
        max_output_tokens=output,
        capabilities=_capabilities(item),
        price=_price(item.get("pricing")),
    )


def read_ollama_model(name: str, shown: Any, allocated: int | None) -> FoundModel | None:
    """Return a model from Ollama's /api/show, or None for one that does not chat.

    Ollama drops the oldest messages without a word when a prompt exceeds what it allocated, so the smallest window that
    is known counts: `num_ctx` of the Modelfile, or `allocated` by /api/ps for a loaded model, before what the model
    was trained for.
    """
    shown = _mapping(shown)
    listed = shown.get("capabilities")
    capabilities: tuple[str, ...] | None = None
    if isinstance(listed, list):
        if "completion" not in listed:
            return None
        capabilities = tuple(name for name in ("tools", "vision", "thinking") if name in listed)
    parameters = re.search(r"^num_ctx\s+(\d+)", str(shown.get("parameters") or ""), re.MULTILINE)
    info = _mapping(shown.get("model_info"))
    trained = next((_whole(value) for key, value in info.items() if key.endswith(".context_length")), None)
    window = (int(parameters[1]) if parameters else None) or allocated or trained
    return FoundModel(name, context_window=window, capabilities=capabilities)


def _capabilities(item: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return what a model can, None where the list does not say."""
    supported, architecture = item.get("supported_parameters"), _mapping(item.get("architecture"))
    stated = item.get("capabilities")
    if isinstance(supported, list):  # OpenRouter; it reads PDFs for every model
        inputs = architecture.get("input_modalities") or ()
        can = {
            "tools": "tools" in supported,
            "vision": "image" in inputs,
            "pdf": True,
            "thinking": "reasoning" in supported,
        }
    elif isinstance(stated, Mapping) and ("trained_for_tool_use" in stated or "vision" in stated):  # LM Studio, v1
        can = {
            "tools": bool(stated.get("trained_for_tool_use")),
            "vision": bool(stated.get("vision")),
            "thinking": bool(stated.get("reasoning")),
        }
    elif isinstance(stated, Mapping) and ("image_input" in stated or "thinking" in stated):  # Anthropic
        vision, thinking = (_is_supported(stated.get(name)) for name in ("image_input", "thinking"))
        can = {"tools": True, "vision": vision, "pdf": vision, "thinking": thinking}
    elif item.get("type") in ("llm", "vlm") and "state" in item:  # LM Studio, v0
        can = {
            "tools": isinstance(stated, list) and "tool_use" in stated,
            "vision": item["type"] == "vlm",
            "thinking": True,
        }
    else:
        return None
    return tuple(name for name, is_able in can.items() if is_able)


def _is_supported(value: Any) -> bool:
    return bool(value.get("supported", value)) if isinstance(value, Mapping) else bool(value)


def _price(pricing: Any) -> FoundPrice | None:
    """Return OpenRouter's prices: strings in USD per token; -1 means that it depends."""
    pricing = _mapping(pricing)
    if not {"prompt", "completion"} <= pricing.keys():
        return None
    price_in, price_out = _per_million(pricing.get("prompt")), _per_million(pricing.get("completion"))
    if price_in is None or price_out is None:
        return None
    names = ("input_cache_read", "input_cache_write", "input_cache_write_1h")
    return FoundPrice(price_in, price_out, *(_per_million(pricing.get(name)) for name in names))


def _per_million(text: Any) -> Decimal | None:
    try:
        amount = Decimal(text) * 1_000_000 if isinstance(text, str) else None
    except InvalidOperation:
        return None
    if amount is None or not amount.is_finite() or not 0 <= amount < 10**7:
        return None
    return amount.quantize(Decimal("0.000001"))


def _loaded_window(instances: Any) -> int | None:
    """Return the smallest context of LM Studio's loaded instances of a model."""
    windows: Iterable[int | None] = (
        _whole(_mapping(_mapping(instance).get("config")).get("context_length"))
        for instance in (instances if isinstance(instances, list) else ())
    )
    return min(filter(None, windows), default=None)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: Any) -> int | None:
    # The column is a 32-bit integer; a router's list has windows of 10**9 and more, which mean "any".
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID and value.isprintable()
