"""What the choice of candidates costs: `select` among many targets for a call of Claude Code's size, per order.

    python -m benchmarks.candidates [--targets 20] [--calls 5000] [--bytes 50000]

Prints the median and the 95th percentile of the time of one choice in microseconds, and those of making its record.
No network, no database.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import django

ORDERS = ("priority", "weighted", "cheapest", "fastest")


def measured(work: Callable[[int], object], calls: int) -> tuple[float, float]:
    """Return the median and the 95th percentile of the CPU time of `work`, which gets the number of the call, in µs.

    CPU time: what else the machine does meanwhile is no part of it.
    """
    spent = []
    for number in range(calls):
        begin = time.thread_time_ns()
        work(number)
        spent.append((time.thread_time_ns() - begin) / 1000)
    return statistics.median(spent), statistics.quantiles(spent, n=20)[-1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--bytes", type=int, default=50_000, help="of the request that the facts are taken from")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    django.setup()

    from providers.target import PriceList, Target, Timeouts
    from providers.translation import tokens
    from providers.translation.dialect import Dialect
    from providers.translation.needs import needs_of
    from routing.intent.facts import Facts
    from routing.meaning import Meaning
    from routing.select import Decision, select
    from routing.snapshot import PolicySnapshot, RouteSnapshot, Snapshot

    class Speeds:
        """Health in which nothing cools down, and every second target has a speed."""

        def is_cooling(self, _target_name: str, _credential_name: str) -> bool:
            return False

        def why(self, _target: Target) -> str:
            return ""

        def ttft_ms(self, target_name: str) -> float | None:
            return float(target_name[-1]) * 100 if int(target_name[-1]) % 2 else None

    chance = random.Random(1)
    abilities = (None, frozenset({"tools"}), frozenset({"tools", "vision"}), frozenset({"tools", "thinking"}))
    targets = [
        Target(
            provider_name="bench",
            kind="openai_compatible",
            wire_format="openai",
            base_url="http://127.0.0.1:9/v1",
            secrets=(),
            model_id=f"model-{number}",
            timeouts=Timeouts(1, 1, 1, 1),
            dialect=Dialect(),
            context_window=chance.choice((None, 16_000, 131_072, 200_000)),
            max_output_tokens=chance.choice((None, 8192, 32_000)),
            capabilities=chance.choice(abilities),
            price=PriceList("USD", *(Decimal(chance.randint(1, 500)) / 100 for _ in range(4)), "price"),
        )
        for number in range(options.targets)
    ]
    view = Snapshot(1, {target.name: target for target in targets})
    policy = PolicySnapshot(1, "bench", "direct", None, "", targets[-1])
    weights = tuple(chance.randint(1, 9) for _ in targets)
    route = RouteSnapshot("bench", tuple(view.targets), weights=weights)
    line = "def total(prices: list[float]) -> float:  # 把所有价格加起来\n    return sum(prices)\n"
    body = {
        "messages": [{"role": "user", "content": line * (options.bytes // len(line.encode()))}],
        "tools": [{"name": "Read", "input_schema": {"type": "object"}}],
    }
    facts = Facts("x", prompt_tokens=tokens.rough_estimate(body), max_tokens=128_000, needs=needs_of(body))

    def choose(order: str, number: int) -> Decision:
        meaning = Meaning(replace(route, order=order), "bench", "x")
        return select(view, policy, meaning, facts, health=Speeds(), seed=str(number))

    print(f"{options.targets} targets, a prompt of about {facts.prompt_tokens} tokens, {options.calls} calls; µs")
    print(f"{'':<22}{'p50':>8}{'p95':>8}")
    for order in ORDERS:
        row = measured(lambda number, order=order: choose(order, number), options.calls)
        print(f"{'select, ' + order:<22}{row[0]:>8.1f}{row[1]:>8.1f}")
    decision = choose("cheapest", 0)
    row = measured(lambda _number: decision.as_record(), options.calls)
    print(f"{'record':<22}{row[0]:>8.1f}{row[1]:>8.1f}")


if __name__ == "__main__":
    main()
