"""The configuration of the simulated working day: three models, four scenes, a policy that routes by intent.

Django must be set up before this is imported.
"""

from decimal import Decimal

from benchmarks.office import EXAMPLES, LANGUAGES, prompts
from providers.target import PriceList, Target, Timeouts
from providers.translation.dialect import Dialect
from routing.intent import scorer, training
from routing.snapshot import PolicySnapshot, RouteSnapshot, SceneSnapshot, Snapshot

# USD per million tokens: input, output, cache read, cache write. Of the orders of a small model, of one made for
# programming, and of the best that money buys, in 2026.
PRICES = {
    "small": ("0.25", "2", "0.025", "0.25"),
    "coder": ("1", "5", "0.1", "1"),
    "best": ("5", "25", "0.5", "6.25"),
}
STRENGTH = list(PRICES)
SCENES = {
    "chat": (
        "small",
        "Small talk and quick questions of everyday life: greetings, thanks, jokes, facts. 闲聊与日常小问题",
    ),
    "docs": (
        "small",
        "Writing and editing texts for people: mails, manuals, reports, summaries, translations. 写作文档、邮件、总结",
    ),
    "code": (
        "coder",
        "Writing new code of limited size: a function, a script, a test, an endpoint, a component. 编写新代码和小功能",
    ),
    "refactor": (
        "best",
        "Hard changes across a code base: restructuring, migrations, architecture, hunting down difficult faults. "
        "重构、迁移、架构调整、疑难问题",
    ),
}


def office_policy(*, min_confidence: float) -> tuple[Snapshot, PolicySnapshot]:
    """Return the configuration of the day: four scenes, three models, a trained scorer."""
    zero = Timeouts(1, 1, 1, 1)
    targets = {
        f"day/{name}": Target(
            provider_name="day",
            kind="openai_compatible",
            wire_format="openai",
            base_url="http://127.0.0.1:9/v1",
            secrets=(),
            model_id=name,
            timeouts=zero,
            dialect=Dialect(),
            context_window=200_000,
            max_output_tokens=32_000,
            capabilities=frozenset({"tools", "vision", "thinking"}),
            price=PriceList("USD", *(Decimal(price) for price in prices), "price"),
        )
        for name, prices in PRICES.items()
    }
    words = [prompts(language) for language in LANGUAGES]
    scenes = tuple(
        SceneSnapshot(
            name,
            description,
            tuple(example for each in words for example in each[name][:EXAMPLES]),
            RouteSnapshot(name, (f"day/{model}", *(other for other in targets if other != f"day/{model}"))),
            is_default=name == "code",
        )
        for name, (model, description) in SCENES.items()
    )
    policy = PolicySnapshot(
        1,
        "office",
        "smart",
        None,
        "",
        targets["day/best"],
        scenes=scenes,
        classifier_names=("day/small",),
        min_confidence=min_confidence,
        scorer=scorer.Scorer.from_bytes(training.train(scenes)),
    )
    return Snapshot(1, targets, (), {1: policy}, policy), policy
