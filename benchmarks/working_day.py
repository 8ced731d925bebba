"""What routing by intent saves on a working day, what it costs, and how often it errs: a simulation.

    python -m benchmarks.working_day [--seed 1] [--people 12] [--sessions 5] [--json]

The product's own modules decide on each call of an office (benchmarks/office.py); only the models are made up: answers
have a drawn length, the small model that classifies is right in 95 of 100 cases. README.md says how to read the table.
No network, no database.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
django.setup()

from benchmarks.day_policy import SCENES, STRENGTH, office_policy  # noqa: E402
from benchmarks.office import Call, Day, calls_of  # noqa: E402
from providers.pricing import cost_of  # noqa: E402
from providers.target import Target  # noqa: E402
from providers.translation import tokens  # noqa: E402
from providers.translation.usage import Usage  # noqa: E402
from routing.intent import chain, classifier  # noqa: E402
from routing.intent.facts import Facts, SceneChoice, SessionMemory  # noqa: E402
from routing.intent.reading import facts_of  # noqa: E402
from routing.meaning import Meaning, meaning_of, without_intent  # noqa: E402
from routing.models import RequestKind  # noqa: E402
from routing.select import Decision, select  # noqa: E402
from routing.snapshot import PolicySnapshot  # noqa: E402

# What an upstream keeps a prompt for.
CACHE_S = 300
# Of a rewritten history only instructions and tools are still in the cache.
KEPT_TOKENS = 12_000
CLASSIFIER_OUTPUT_TOKENS = 12


@dataclass(slots=True)
class Bill:
    """What the calls of a day cost when a strategy has chosen the models; each remembers the prompts it has seen."""

    cost: Decimal = Decimal(0)
    by_scene: dict[str, Decimal] = field(default_factory=dict)
    _seen: dict[tuple[str, str, str], tuple[int, datetime]] = field(default_factory=dict)

    def add(self, call: Call, target: Target, label: str = "") -> None:
        """Book `call` on `target`, with what its upstream has cached of the prompt."""
        usage = Usage(input_tokens=call.prompt_tokens, output_tokens=call.output_tokens)
        if call.is_conversation:
            key = (call.session_id, call.agent_id, target.name)
            seen, at = self._seen.get(key, (0, call.at))
            read = 0 if call.at - at > timedelta(seconds=CACHE_S) else min(seen, call.prompt_tokens)
            if call.is_rewritten:
                read = min(read, KEPT_TOKENS)
            usage = Usage(
                output_tokens=call.output_tokens, cache_read_tokens=read, cache_write_tokens=call.prompt_tokens - read
            )
            self._seen[key] = (call.prompt_tokens, call.at)
        cost, _currency, _source = cost_of(usage, target.price)
        assert cost is not None
        self.cost += cost
        self.by_scene[label] = self.by_scene.get(label, Decimal(0)) + cost


class SmallModel:
    """The model that classifies: right as often as `accuracy` says. Counts what it is asked, and what that costs."""

    def __init__(self, policy: PolicySnapshot, target: Target, accuracy: float, seed: int) -> None:
        self._scenes = [scene.name for scene in policy.scenes]
        self._target = target
        self._accuracy = accuracy
        self._chance = random.Random(f"{seed} small model")
        self.truth = ""
        self.asked = self.tokens = 0
        self.cost = Decimal(0)

    async def ask(self, body: dict[str, Any], _names: Sequence[str], _timeout_s: float) -> str:
        """Return the answer to a question of the product's classifier."""
        labels = body["output_config"]["format"]["schema"]["properties"]["label"]["enum"]
        usage = Usage(input_tokens=tokens.rough_estimate(body), output_tokens=CLASSIFIER_OUTPUT_TOKENS)
        self.asked += 1
        self.tokens += usage.input_tokens + usage.output_tokens
        self.cost += cost_of(usage, self._target.price)[0] or Decimal(0)
        right = self.truth if self.truth in self._scenes else self._chance.choice(self._scenes)
        others = [name for name in self._scenes if name != right]
        name = right if self._chance.random() < self._accuracy else self._chance.choice(others)
        return json.dumps({"label": labels[self._scenes.index(name)]})


@dataclass(frozen=True, slots=True)
class Took:
    """The milliseconds of a decision: by the clock, and of the processor, which a busy machine leaves alone."""

    ms: float
    cpu_ms: float


@dataclass(slots=True)
class Tally:
    """What was counted on the way."""

    kinds: Counter[str] = field(default_factory=Counter)
    found_by: Counter[str] = field(default_factory=Counter)  # of main turns
    asked_on: Counter[str] = field(default_factory=Counter)  # kinds of the calls that the classifier was asked for
    judged: int = 0  # main turns whose scene is known
    wrong: Counter[tuple[str, str]] = field(default_factory=Counter)  # (should be, was)
    flips: int = 0
    took: list[Took] = field(default_factory=list)
    near_50_kb: list[Took] = field(default_factory=list)  # of them


# What the spend is compared with. If every scene had been right: a policy that errs may well be cheaper, by models
# that are too weak for the work.
BASELINES = {
    "reference": "all on the reference model",
    "random": "random target per call",
    "random_per_session": "random target per session",
    "right_scenes": "every scene right",
}


class Simulation:
    """One day under a policy."""

    def __init__(self, day: Day, *, min_confidence: float, accuracy: float) -> None:
        self.snapshot, self.policy = office_policy(min_confidence=min_confidence)
        self.small = SmallModel(self.policy, self.snapshot.targets["day/small"], accuracy, day.seed)
        self.tally = Tally()
        self.bills = {name: Bill() for name in ("policy", *BASELINES)}
        self._day = day
        self._chance = random.Random(f"{day.seed} random target")
        self._memories: dict[tuple[str, str], SessionMemory] = {}

    async def run(self) -> None:
        """Let every call of the day be decided and booked."""
        classifier.forget()
        targets = list(self.snapshot.targets.values())
        for call in calls_of(self._day):
            decision, meaning = await self._decide(call)
            self.bills["policy"].add(call, decision.candidates[0], meaning.scene_name or "-")
            self.bills["reference"].add(call, self.snapshot.targets["day/best"])
            self.bills["random"].add(call, self._chance.choice(targets))
            by_session = random.Random(f"{self._day.seed} {call.session_id}")
            self.bills["random_per_session"].add(call, by_session.choice(targets))
            right = self.snapshot.targets[f"day/{SCENES[call.scene][0]}"] if call.scene else decision.candidates[0]
            self.bills["right_scenes"].add(call, right)

    async def _decide(self, call: Call) -> tuple[Decision, Meaning]:
        key = (call.session_id, call.agent_id)
        memory = self._memories.get(key)
        begin, cpu_begin = time.perf_counter(), time.thread_time()
        facts = facts_of(
            call.body, call.headers, prompt_tokens=call.prompt_tokens, max_tokens=call.body.get("max_tokens")
        )
        choice: SceneChoice | None = None
        meaning = without_intent(self.snapshot, self.policy, facts)
        waited = cpu_waited = 0.0
        if meaning is None:
            choice = chain.local(self.policy, facts, memory, call.at)
            if choice is None:
                waited, cpu_waited = time.perf_counter(), time.thread_time()
                choice = await self._ask(call, facts, memory)
                waited, cpu_waited = time.perf_counter() - waited, time.thread_time() - cpu_waited
            meaning = meaning_of(self.snapshot, self.policy, facts, choice)
        decision = select(self.snapshot, self.policy, meaning, facts, memory=memory, seed=call.session_id)
        took = Took((time.perf_counter() - begin - waited) * 1000, (time.thread_time() - cpu_begin - cpu_waited) * 1000)
        self._count(call, facts, meaning, choice, memory, took)
        if meaning.scene_name:
            target = decision.candidates[0].name
            self._memories[key] = SessionMemory(meaning.scene_name, target, self.policy.name, call.at)
        return decision, meaning

    async def _ask(self, call: Call, facts: Facts, memory: SessionMemory | None) -> SceneChoice:
        self.small.truth = call.scene
        self.tally.asked_on[facts.kind] += 1
        return await chain.choose(self.policy, facts, memory, call.at, self.small.ask)

    def _count(
        self,
        call: Call,
        facts: Facts,
        meaning: Meaning,
        choice: SceneChoice | None,
        memory: SessionMemory | None,
        took: Took,
    ) -> None:
        tally = self.tally
        tally.kinds[facts.kind] += 1
        tally.took.append(took)
        if 12_000 < call.prompt_tokens < 20_000:  # 40 to 65 KB
            tally.near_50_kb.append(took)
        if facts.in_tool_loop and memory is not None and meaning.scene_name != memory.scene_name:
            tally.flips += 1
        if facts.kind != RequestKind.MAIN:
            return
        tally.found_by[choice.by if choice else "-"] += 1
        if call.scene:
            tally.judged += 1
            if meaning.scene_name != call.scene:
                tally.wrong[call.scene, meaning.scene_name] += 1

    def report(self) -> dict[str, Any]:
        """Return what came out, as JSON."""
        tally, spend = self.tally, {name: bill.cost for name, bill in self.bills.items()}
        with_classifier = spend["policy"] + self.small.cost
        main = tally.kinds[RequestKind.MAIN]
        wrong = tally.wrong.total()
        weaker = sum(count for pair, count in tally.wrong.items() if _strength(pair[1]) < _strength(pair[0]))
        return {
            "day": {"seed": self._day.seed, "people": self._day.people, "sessions": self._day.sessions},
            "calls": tally.kinds.total(),
            "kinds": {str(kind): count for kind, count in sorted(tally.kinds.items())},
            "spend_usd": {name: _money(cost) for name, cost in (spend | {"policy": with_classifier}).items()},
            "saving_percent": {
                name: round(float(100 * (1 - with_classifier / cost)), 1)
                for name, cost in spend.items()
                if name != "policy"
            },
            "spend_by_scene_usd": {name: _money(cost) for name, cost in sorted(self.bills["policy"].by_scene.items())},
            "classifier": {
                "asked": self.small.asked,
                "main_turns": main,
                "share_of_main_turns": round(tally.asked_on[RequestKind.MAIN] / main, 4) if main else 0.0,
                "tokens": self.small.tokens,
                "cost_usd": str(self.small.cost.quantize(Decimal("0.000001"))),
            },
            "scene_found_by": dict(sorted(tally.found_by.items())),
            "scene_flips_in_tool_loops": tally.flips,
            "wrong_scene": {
                "share": round(wrong / tally.judged, 4) if tally.judged else 0.0,
                "of": tally.judged,
                "to_a_weaker_model": weaker,
                "pairs": {f"{should} -> {was}": count for (should, was), count in tally.wrong.most_common()},
            },
            "decision_ms": {"all": _percentiles(tally.took), "about_50_kb": _percentiles(tally.near_50_kb)},
        }


def _strength(scene_name: str) -> int:
    return STRENGTH.index(SCENES[scene_name][0])


def _money(cost: Decimal) -> str:
    return str(cost.quantize(Decimal("0.01")))


def _percentiles(took: list[Took]) -> dict[str, float]:
    if len(took) < 2:
        return {}
    values = {"": [each.ms for each in took], "_cpu": [each.cpu_ms for each in took]}
    return {
        f"p{share}{name}": round(statistics.quantiles(each, n=20)[share // 5 - 1], 3)
        for name, each in values.items()
        for share in (50, 95)
    }


def simulate(day: Day, *, min_confidence: float = 0.6, accuracy: float = 0.95) -> dict[str, Any]:
    """Return the report of a day."""
    simulation = Simulation(day, min_confidence=min_confidence, accuracy=accuracy)
    asyncio.run(simulation.run())
    return simulation.report()


def table(report: dict[str, Any]) -> str:
    """Return a report as text."""
    small, wrong, spend = report["classifier"], report["wrong_scene"], report["spend_usd"]
    rows = [
        ("calls", f"{report['calls']}: " + ", ".join(f"{count} {kind}" for kind, count in report["kinds"].items())),
        ("spent under the policy", f"{spend['policy']} USD, classifier included"),
        *(
            (label, f"{spend[name]} USD: the policy saves {report['saving_percent'][name]} %")
            for name, label in BASELINES.items()
        ),
        ("spent by scene", ", ".join(f"{name} {cost}" for name, cost in report["spend_by_scene_usd"].items())),
        (
            "classifier",
            f"asked {small['asked']} times, on {100 * small['share_of_main_turns']:.1f} % of {small['main_turns']} "
            f"main turns; {small['tokens']} tokens, {small['cost_usd']} USD",
        ),
        ("scene found by", ", ".join(f"{by} {count}" for by, count in report["scene_found_by"].items())),
        ("scene flips in tool loops", str(report["scene_flips_in_tool_loops"])),
        (
            "wrong scene",
            f"{100 * wrong['share']:.1f} % of {wrong['of']} main turns, {wrong['to_a_weaker_model']} to a weaker model",
        ),
        ("", ", ".join(f"{pair} {count}" for pair, count in wrong["pairs"].items())),
        *(
            (
                f"decision, {label}",
                ", ".join(f"{name} {value} ms" for name, value in report["decision_ms"][key].items()),
            )
            for key, label in (("about_50_kb", "about 50 KB"), ("all", "all calls"))
        ),
    ]
    return "\n".join(f"{label:<28}{text}" for label, text in rows if text)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--sessions", type=int, default=5, help="of each person")
    parser.add_argument("--min-confidence", type=float, default=0.6, help="below it the small model is asked")
    parser.add_argument("--accuracy", type=float, default=0.95, help="of the small model")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    day = Day(options.seed, options.people, options.sessions)
    report = simulate(day, min_confidence=options.min_confidence, accuracy=options.accuracy)
    print(json.dumps(report, indent=2, ensure_ascii=False) if options.json else table(report))


if __name__ == "__main__":
    main()
