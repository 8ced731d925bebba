"""Measure the local scorer on the held-out prompts: accuracy, calibration, time.

python -m benchmarks.intent
"""

import json
import re
import statistics
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HELD_OUT = ROOT / "tests" / "fixtures" / "intent" / "held_out.jsonl"
# Sets A and B are the scenes that the gateway offers; set C is cut by the effort of the work.
OFFERED = ROOT / "routing" / "data" / "offered_scenes.json"
EFFORT = HELD_OUT.with_name("effort_scenes.json")
REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)


@dataclass(frozen=True)
class MeasuredScene:
    """A scene as an administrator would write it."""

    name: str
    description: str
    examples: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class Answer:
    """What the scorer said of one prompt."""

    set_name: str
    language: str
    form: str
    right: str
    said: str
    confidence: float


def scene_sets() -> dict[str, list[MeasuredScene]]:
    """Return the scenes of each set, with the names, descriptions and examples of both languages."""
    offered = json.loads(OFFERED.read_text(encoding="utf-8"))
    sets = {name: [_of_both(row) for row in offered[which]] for name, which in (("A", "defaults"), ("B", "templates"))}
    sets["C"] = [
        MeasuredScene(row["name"], row["description"], tuple(row["examples"]), row["key"])
        for row in json.loads(EFFORT.read_text(encoding="utf-8"))
    ]
    return sets


def _of_both(row: dict[str, Any]) -> MeasuredScene:
    def joined(field: str) -> str:
        return f"{row[field]['zh-hans']} {row[field]['en']}"

    examples = (*row["examples"]["en"], *row["examples"]["zh-hans"])
    return MeasuredScene(joined("name"), joined("description"), examples, row["key"])


def answers() -> list[Answer]:
    """Ask the scorer of each set for its prompts."""
    from routing.intent.scorer import Scorer
    from routing.intent.training import train

    rows = [json.loads(line) for line in HELD_OUT.read_text(encoding="utf-8").splitlines()]
    given = []
    for name, scenes in scene_sets().items():
        keys = {scene.name: scene.key for scene in scenes}
        scorer = Scorer.from_bytes(train(scenes))
        for row in rows:
            if row["set"] != name:
                continue
            scores = scorer.scores(REMINDER.sub("", row["text"]).strip())
            best = max(scores, key=lambda each: scores[each])
            given.append(Answer(name, row["language"], row["form"], row["scene"], keys[best], scores[best]))
    return given


def share(given: list[Answer]) -> float:
    """Return the share of right answers."""
    return sum(answer.right == answer.said for answer in given) / len(given) if given else 0.0


def main() -> None:
    """Print the report."""
    given = answers()
    by: dict[tuple[str, ...], list[Answer]] = defaultdict(list)
    for answer in given:
        by[answer.set_name, answer.language].append(answer)
        by["form", answer.form, answer.language].append(answer)
    for key in sorted(by):
        print(f"{' '.join(key):24}{len(by[key]):5}{100 * share(by[key]):7.1f} %")
    for key in sorted(by):
        if len(key) == 2:
            wrong = Counter(f"{a.right}>{a.said}" for a in by[key] if a.right != a.said)
            print(f"{' '.join(key):8}{dict(wrong.most_common())}")
    print("confidence    share of prompts   right   mean confidence")
    for low, high in ((0, 0.4), (0.4, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01)):
        inside = [answer for answer in given if low <= answer.confidence < high]
        if inside:
            mean = statistics.mean(answer.confidence for answer in inside)
            part, right = 100 * len(inside) / len(given), 100 * share(inside)
            print(f"{low:.1f} to {min(high, 1):.1f}{part:14.1f} %{right:12.1f} %{mean:12.2f}")
    for language in ("en", "zh"):
        below = [a for a in given if a.confidence < 0.6 and a.language == language]
        above = [a for a in given if a.confidence >= 0.6 and a.language == language]
        print(f"{language}: below 0.6 {len(below)} ({100 * share(below):.1f} % right)", end=", ")
        print(f"above {len(above)} ({100 * share(above):.1f} % right)")
    _time()


def _time() -> None:
    from routing.intent import space
    from routing.intent.scorer import Scorer
    from routing.intent.training import train

    start = time.perf_counter()
    space.from_bytes(space.FILE.read_bytes())
    print(f"load the space: {1000 * (time.perf_counter() - start):.0f} ms")
    scenes = scene_sets()["A"]
    start = time.perf_counter()
    weights = train(scenes)
    print(f"train: {1000 * (time.perf_counter() - start):.0f} ms, {len(weights):,} bytes")
    start = time.perf_counter()
    scorer = Scorer.from_bytes(weights)
    print(f"load the scorer: {1000 * (time.perf_counter() - start):.1f} ms")
    for name, text in (
        ("a sentence", "please fix the failing login test in accounts/tests.py"),
        ("一句话", "帮我把登录接口的超时时间改成六十秒，并补上测试"),
        ("4,000 Chinese characters", "数据库连接池在高并发情况下会被耗尽，请分析原因并给出修改方案。" * 130),
        ("50 kB of code", "fix this\n" + "    for item in items: total += item.price * item.count\n" * 900),
    ):
        times = []
        for _turn in range(200):
            start = time.perf_counter()
            scorer.scores(text)
            times.append(1000 * (time.perf_counter() - start))
        times.sort()
        print(f"score {name}: median {times[100]:.2f} ms, p95 {times[190]:.2f} ms")


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    os.environ.setdefault("DEBUG", "1")
    django.setup()
    main()
