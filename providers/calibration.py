"""Real prompt tokens per estimated token, learned per model from calls: an exponentially weighted average.

Kept in memory by each worker and written to the model's row now and then; the estimate is a promise to nobody, so a
worker that dies loses at most a minute of learning.
"""

import threading

from providers.models import Model
from providers.target import Target

_WEIGHT = 0.2
_LOWEST, _HIGHEST = 0.7, 1.6
# Claude's tokenizer makes about a fifth more tokens of the same text than the one the estimator was fitted to.
_CLAUDE_START = 1.2

_lock = threading.Lock()
_ratios: dict[int, float] = {}
_changed: set[int] = set()


def ratio(target: Target) -> float:
    """Return the factor for estimates of prompts to `target`."""
    learned = _ratios.get(target.model_pk)
    if learned is not None:
        return learned
    if target.token_ratio == 1.0 and "claude" in target.model_id.lower():
        return _CLAUDE_START
    return target.token_ratio


def observe(target: Target, estimated_tokens: int, real_tokens: int) -> None:
    """Learn from one call. Calls too small to tell anything are ignored, and models that are no row."""
    if not target.model_pk or estimated_tokens < 50 or real_tokens < 50:
        return
    seen = min(max(real_tokens / estimated_tokens, _LOWEST), _HIGHEST)
    with _lock:
        _ratios[target.model_pk] = ratio(target) * (1 - _WEIGHT) + seen * _WEIGHT
        _changed.add(target.model_pk)


def save() -> None:
    """Write what was learned since the last time. Sync; call it where the ORM may be used."""
    with _lock:
        changed = {pk: _ratios[pk] for pk in _changed}
        _changed.clear()
    for pk, value in changed.items():
        # An update sends no signal, and should not: a new snapshot for every few calls would be waste.
        Model.objects.filter(pk=pk).update(token_ratio=round(value, 4))
