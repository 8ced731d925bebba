"""Which of the models at hand suits a kind of work, for set-ups that nobody has chosen models for yet.

A guess, from what is known of model families, from prices and from sizes; everything made by it can be edited.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal

from providers.models import Model
from providers.target import ANY_MODEL, PriceList
from providers.targets import load_targets
from routing.models import Route, RouteEntry

Role = Literal["everyday", "small", "coder", "best"]

DEFAULT_ROUTE = "default"  # that of a fresh installation; it is filled as long as it is empty
MAX_TARGETS = 3
# Providers in the order in which they are asked, and the models that each is best known for, for everyday work.
PREFERRED: dict[str, tuple[str, ...]] = {
    "anthropic": ("claude-opus-5-5", "claude-opus-5", "claude-sonnet-5-5"),
    "dashscope": ("qwen3.8-max", "qwen3.7-max", "qwen3-coder-plus", "qwen-plus"),
    "openrouter": ("anthropic/claude-sonnet-5", "qwen/qwen3-coder", "z-ai/glm-5.2"),
    "siliconflow": ("zai-org/GLM-5.2", "deepseek-ai/DeepSeek-V4-Pro", "Qwen/Qwen3-8B"),
    "openai": ("gpt-5.6-sol", "gpt-5.4-mini"),
    "ollama": (),
    "lmstudio": (),
}
# Platforms list these beside the models that chat.
_NO_CHAT = re.compile(
    r"embed|rerank|\bbge\b|tts|whisper|asr|speech|audio|voice|image|dall-e|video|moderation|guard|wanx|wan2|flux|"
    r"stable-diffusion|\bocr\b|realtime|transcri",
    re.IGNORECASE,
)
_SMALL = re.compile(r"haiku|mini\b|flash|turbo|lite\b|small|nano|\bair\b|-air", re.IGNORECASE)
_CODER = re.compile(r"coder|codex|codestral|devstral|\bcode\b", re.IGNORECASE)
_STRONG = re.compile(r"opus|sonnet|\bgpt-[5-9]|-max|-pro\b|glm-[5-9]|deepseek-v[4-9]|kimi-k[2-9]", re.IGNORECASE)
_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)
# Billions of parameters below which a model seldom keeps to what it is told.
_LEAST_SIZE = 3.0
# What costs more than this (USD per million tokens of output) is for special work.
_DEAREST = Decimal(60)
# For ranking only: which of two models is dearer hangs on no exchange rate of the day.
_ROUGH_USD = {"USD": Decimal(1), "CNY": Decimal("0.14")}

_Key = tuple[Any, ...]


def everyday_models() -> list[Model]:
    """Return one model of each provider: a preferred one that is offered, else the first that can call tools."""
    return [model for models in _by_provider() if (model := _everyday(models)) is not None]


def models_for(role: Role) -> list[Model]:
    """Return the models for a kind of work, the best first: one of each provider, then those for everyday work."""
    groups = _by_provider()
    everyday = [model for models in groups if (model := _everyday(models)) is not None]
    if role == "everyday":
        return everyday[:MAX_TARGETS]
    prices = {target.model_pk: target.price for target in load_targets().values()}
    key = _KEYS[role](prices)
    chosen = [min(_able(models), key=key) for models in groups]
    if role == "small":
        chosen.sort(key=key)
    else:
        # The order of the providers, except that a special model comes before one that is not.
        chosen.sort(key=lambda model: key(model)[0])
    return list(dict.fromkeys([*chosen, *everyday]))[:MAX_TARGETS]


def fill(route: Route, models: Iterable[Model]) -> None:
    """Give an empty route its targets, in order."""
    for position, model in enumerate(models):
        RouteEntry.objects.create(route=route, model=model, position=position)


def fill_default_route() -> list[Model]:
    """Fill the route of a fresh installation as long as it is empty, and return its new targets."""
    route = Route.objects.filter(name=DEFAULT_ROUTE, entries__isnull=True).first()
    if route is None:
        return []
    models = everyday_models()
    fill(route, models)
    return models


def _by_provider() -> list[list[Model]]:
    """Return the models that may be chosen, of one provider each, the provider to be asked first at the front."""
    groups: dict[str, list[Model]] = {}
    usable = Model.objects.filter(is_enabled=True, provider__is_enabled=True, missing_since__isnull=True)
    for model in usable.exclude(model_id=ANY_MODEL).select_related("provider"):  # by name
        if not _NO_CHAT.search(model.model_id):
            groups.setdefault(model.provider.name, []).append(model)
    order = {name: position for position, name in enumerate(PREFERRED)}
    return [groups[name] for name in sorted(groups, key=lambda name: (order.get(name, len(order)), name))]


def _everyday(models: Sequence[Model]) -> Model | None:
    by_id = {model.model_id: model for model in models}
    for name in PREFERRED.get(models[0].provider.name, ()):
        if name in by_id:
            return by_id[name]
    return next(iter(_able(models)), None)


def _able(models: Sequence[Model]) -> Sequence[Model]:
    """Return the models that can call tools, as far as is known, or all where none can."""
    return [model for model in models if model.capabilities is None or "tools" in model.capabilities] or models


def _rough_price(price: PriceList | None) -> Decimal | None:
    if price is None or price.currency not in _ROUGH_USD:
        return None
    return price.output * _ROUGH_USD[price.currency]


def _size(model: Model) -> float | None:
    found = [float(size) for size in _SIZE.findall(model.model_id)]
    return max(found) if found else None


def _small_key(prices: dict[int, PriceList | None]) -> Callable[[Model], _Key]:
    """Return a key that puts the cheapest first that still is of use."""

    def key(model: Model) -> _Key:
        size, price = _size(model), _rough_price(prices.get(model.pk))
        is_tiny = size is not None and size < _LEAST_SIZE
        # Free offers of platforms that bill are throttled.
        is_throttled = model.model_id.endswith(":free")
        unknown = price is None
        return (is_tiny or is_throttled, not _SMALL.search(model.model_id), unknown, price or 0, size or 0)

    return key


def _coder_key(prices: dict[int, PriceList | None]) -> Callable[[Model], _Key]:
    best = _best_key(prices)
    return lambda model: (not _CODER.search(model.model_id), *best(model))


def _best_key(prices: dict[int, PriceList | None]) -> Callable[[Model], _Key]:
    """Return a key that puts the strongest first: preferred ones, strong families, then what costs or weighs most."""

    def key(model: Model) -> _Key:
        price, size = _rough_price(prices.get(model.pk)), _size(model)
        preferred = PREFERRED.get(model.provider.name, ())
        rank = preferred.index(model.model_id) if model.model_id in preferred else len(preferred)
        is_special = model.model_id.endswith(":free") or (price is not None and price > _DEAREST)
        strength = 0 if rank < len(preferred) or _STRONG.search(model.model_id) else 1
        return (strength, is_special, rank, bool(_SMALL.search(model.model_id)), -(price or 0), -(size or 0))

    return key


_KEYS: dict[str, Callable[[dict[int, PriceList | None]], Callable[[Model], _Key]]] = {
    "small": _small_key,
    "coder": _coder_key,
    "best": _best_key,
}
