"""Which models' calls were booked without a cost, and still have none."""

from typing import Any

from django.db.models import Count, F, QuerySet, Sum

from accounts.models import Correction, UsageDaily

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def unpriced_by_model(
    days: "QuerySet[UsageDaily]", corrections: "QuerySet[Correction]"
) -> dict[tuple[str, str], tuple[int, int]]:
    """Return (provider, model) -> how many calls have no price, and their tokens, in the order of the names.

    The days of a closed month count a call as unpriced for good, as they were closed. Its price is a correction then,
    and it is left out here: nothing is to be done about it any more. Two queries.
    """
    sums: dict[str, Any] = {f"sum_{name}": Sum(name) for name in _TOKENS}
    names = ("provider_name", "model_name")
    rows: Any = days.filter(unpriced_calls__gt=0).order_by(*names).values(*names)
    found = {
        (row["provider_name"], row["model_name"]): (row["count"], sum(row[f"sum_{name}"] for name in _TOKENS))
        for row in rows.annotate(count=Sum("unpriced_calls"), **sums)
    }
    late: Any = corrections.filter(source=Correction.Source.LATE_PRICE, call__isnull=False).order_by().values(*names)
    tokens = Sum(sum((F(f"call__{name}") for name in _TOKENS[1:]), F(f"call__{_TOKENS[0]}")))
    for row in late.annotate(count=Count("call", distinct=True), tokens=tokens):
        model = row["provider_name"], row["model_name"]
        if model in found:
            calls, used = found[model]
            found[model] = calls - row["count"], used - row["tokens"]
    return {model: (calls, used) for model, (calls, used) in found.items() if calls > 0}
