"""How long the answers of each model are, by kind of request: what a call reserves before it is known."""

from datetime import date, timedelta

from django.db.models import F, Sum

from accounts.models import UsageDaily
from providers.target import Target
from routing.estimate import EXPECTED_OUTPUT_TOKENS

DAYS = 7
# With fewer answers the mean says little.
_ENOUGH = 5
_WEIGHT = 0.05
# More models and kinds than any gateway uses; names that clients choose must not fill the memory.
_MOST = 2000

_Key = tuple[str, str, str]  # provider, model, kind


class OutputHistory:
    """Means of output tokens of one worker: of the last days as the books have them, then an exponential average.

    An estimate, so each worker learns for itself; `load` brings what the others booked.
    """

    def __init__(self) -> None:
        self._means: dict[_Key, tuple[float, int]] = {}  # with the number of answers

    def load(self, today: date) -> None:
        """Read the means of the last days from the daily usage: one query along the index on its date."""
        rows = (
            UsageDaily.objects.filter(date__gte=today - timedelta(days=DAYS), output_tokens__gt=0)
            .order_by()
            .values_list("provider_name", "model_name", "kind")
            .annotate(tokens=Sum("output_tokens"), answers=Sum(F("calls") - F("failed_calls")))
            .order_by("-answers")[:_MOST]
        )
        for provider, model, kind, tokens, answers in rows:
            if answers > 0:
                self._means[provider, model, kind] = (tokens / answers, answers)

    def learn(self, provider: str, model: str, kind: str, tokens: int) -> None:
        """Learn from an answer of `tokens`."""
        key = (provider, model, kind)
        mean, answers = self._means.get(key, (0.0, 0))
        if answers == 0 and len(self._means) >= _MOST:
            return
        answers += 1
        self._means[key] = (mean + (tokens - mean) * max(1 / answers, _WEIGHT), answers)

    def expected(self, target: Target | None, kind: str, max_tokens: int | None) -> int:
        """Return how many tokens an answer of `target` will have, at most `max_tokens`."""
        expected = EXPECTED_OUTPUT_TOKENS
        if target is not None:
            mean, answers = self._means.get((target.provider_name, target.model_id, kind), (0.0, 0))
            if answers >= _ENOUGH:
                expected = max(1, round(mean))
        return min(expected, max_tokens or expected)
