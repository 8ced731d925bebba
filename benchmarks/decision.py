"""What a decision by intent costs: all of a smart policy's part of a call but the books, without a small model.

    python -m benchmarks.decision [--bytes 50000] [--calls 2000]

Prints the median and the 95th percentile in microseconds, for a body of Claude Code's make-up whose last words are new
each time and in one that is in a tool loop, and the same of each step. No network, no database.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
django.setup()

from benchmarks.candidates import measured  # noqa: E402
from benchmarks.day_policy import office_policy  # noqa: E402
from benchmarks.office import prompts  # noqa: E402
from benchmarks.run import SCENARIOS, request_body  # noqa: E402
from providers.translation import tokens  # noqa: E402
from routing.intent import chain  # noqa: E402
from routing.intent.facts import Facts, SceneChoice, SessionMemory  # noqa: E402
from routing.intent.kinds import kind_of  # noqa: E402
from routing.intent.reading import facts_of  # noqa: E402
from routing.intent.scorer import Scorer  # noqa: E402
from routing.intent.sessions import loop_id, session_key  # noqa: E402
from routing.intent.training import train  # noqa: E402
from routing.meaning import Meaning, of_scene, without_intent  # noqa: E402
from routing.record import record_of  # noqa: E402
from routing.select import select  # noqa: E402
from routing.snapshot import PolicySnapshot  # noqa: E402

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


async def nobody(_body: dict[str, Any], _names: object, _timeout_s: float) -> str:
    """Stand for the small models that this policy has not."""
    raise AssertionError("a policy without classifier models asks nobody")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bytes", type=int, default=50_000)
    parser.add_argument("--calls", type=int, default=2000)
    arguments = parser.parse_args()
    snapshot, smart = office_policy(min_confidence=0.6)
    policy = replace(smart, classifier_names=())
    loop: dict[str, Any] = json.loads(
        request_body(replace(SCENARIOS["large"], request_bytes=arguments.bytes), "claude-of-the-client")
    )
    words = [text for texts in prompts("en").values() for text in texts]
    words += [text for texts in prompts("zh").values() for text in texts]
    memory = SessionMemory("code", "day/coder", policy.name, NOW)

    def body_of(number: int) -> dict[str, Any]:
        said = {"role": "user", "content": f"{words[number % len(words)]} ({number})"}
        return {**loop, "messages": [*loop["messages"], {"role": "assistant", "content": "Done."}, said]}

    def facts(body: dict[str, Any]) -> Facts:
        rough = tokens.rough_estimate(body)
        return facts_of(body, {}, prompt_tokens=rough, max_tokens=1000, kind=kind_of(body, {}))

    def mean(found: Facts, held: SessionMemory | None) -> Meaning:
        meaning = without_intent(snapshot, policy, found, memory=held)
        return meaning or of_scene(found, _choice(policy, found, held))

    def decide(body: dict[str, Any], held: SessionMemory | None) -> None:
        session_key(1, loop_id(body["messages"]))
        found = facts(body)
        meaning = mean(found, held)
        decision = select(snapshot, policy, meaning, found, memory=held, seed="session")
        _ = {**record_of(found, meaning), **decision.as_record()}

    bodies = [body_of(number) for number in range(arguments.calls)]
    known = [facts(body) for body in bodies]
    looping = facts(loop)
    steps: dict[str, Callable[[int], object]] = {
        "whole decision, new words": lambda number: decide(bodies[number], None),
        "whole decision, in a session": lambda number: decide(bodies[number], memory),
        "whole decision, in a tool loop": lambda _number: decide(loop, memory),
        "  facts of the request": lambda number: facts(bodies[number]),
        "  facts, in a tool loop": lambda _number: facts(loop),
        "  key of the session by digest": lambda number: session_key(1, loop_id(bodies[number]["messages"])),
        "  scene, by the scorer": lambda number: mean(known[number], None),
        "  scene, of the session": lambda _number: mean(looping, memory),
    }
    print(f"{'':34} {'p50 µs':>8} {'p95 µs':>8}")
    for name, work in steps.items():
        p50, p95 = measured(work, arguments.calls)
        print(f"{name:34} {p50:8.0f} {p95:8.0f}")
    data = train(policy.scenes)
    begin = time.perf_counter()
    Scorer.from_bytes(data)
    print(f"loading the scorer: {(time.perf_counter() - begin) * 1000:.0f} ms, {len(data)} bytes")


def _choice(policy: PolicySnapshot, found: Facts, held: SessionMemory | None) -> SceneChoice:
    """Return the scene of a call: nobody is asked, so that nothing is waited for."""
    choosing = chain.choose(policy, found, held, NOW, nobody)
    try:
        choosing.send(None)
    except StopIteration as done:
        choice: SceneChoice = done.value
        return choice
    raise AssertionError("a decision without a small model waits for nothing")


if __name__ == "__main__":
    main()
