"""Training the local scorer when scenes are saved: never in a call."""

import logging
import math
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from routing import snapshot
from routing.intent import space as intent_space
from routing.intent.features import features
from routing.intent.scorer import SceneWords, Scorer, fingerprint, from_intents, lexical
from routing.intent.space import IntentSpace, softmax
from routing.models import Policy, TrainedScorer
from routing.snapshot import PolicySnapshot

__all__ = ["ensure", "ensure_after_commit", "ensure_all", "fingerprint", "train"]

logger = logging.getLogger(__name__)

_PHRASE_END = re.compile(r"[,;:.，、；：。！？\n()（）]+|\b(?:or|and)\b|(?<=[一-鿿])(?:或|和|以及)(?=[一-鿿])")
# Of a set, shared by its scenes; the last ones count, which were added last. A long example costs 2 ms.
_MAX_EXAMPLES = 1_500
# The figures below were chosen on the seeds, seen from scenes of several cuts: benchmarks/README.md.
_DESCRIPTION_SHARE = 0.5  # what a description counts beside the examples together, as long as they are few
_DESCRIPTION_EXAMPLES = 10
_SPREAD = 0.2  # how far evidence for an intent counts for those that look like it
_SHARPNESS = 2.0
_DOUBT = 0.3  # of an intent of which no scene speaks
_RATE = 0.25
_DECAY = 0.02
_STEPS = 6_000
_TEMPERATURE = 0.45


@dataclass(frozen=True, slots=True)
class _Lesson:
    """A text whose scene is known."""

    scene: int
    weight: float
    intents: Sequence[float]
    words: dict[str, float]


def train(scenes: Sequence[SceneWords]) -> bytes:
    """Return the weights of a scorer for `scenes`. The same scenes give the same bytes."""
    if not scenes:
        raise ValueError("there is no scene to train for")
    space = intent_space.load()
    ordered = sorted(scenes, key=lambda scene: scene.name)
    most = max(1, _MAX_EXAMPLES // len(ordered))
    lessons = [lesson for number, scene in enumerate(ordered) for lesson in _lessons(number, scene, most, space)]
    shares = _shares(lessons, len(ordered), space)
    return Scorer(
        scenes=tuple(scene.name for scene in ordered),
        shares=shares,
        words=_words(lessons, shares, len(ordered)),
        temperature=_TEMPERATURE,
        space=space,
    ).to_bytes()


def _lessons(number: int, scene: SceneWords, most: int, space: IntentSpace) -> Iterator[_Lesson]:
    examples = [text for text in scene.examples if text.strip()][-most:]
    for text in examples:
        yield _lesson(number, 1.0, text, space)
    phrases = [phrase.strip() for phrase in (scene.name, *_PHRASE_END.split(scene.description))]
    phrases = [phrase for phrase in phrases if len(phrase) > 1]
    weight = _DESCRIPTION_SHARE * _DESCRIPTION_EXAMPLES / len(phrases) if phrases else 0
    for phrase in phrases:
        yield _lesson(number, weight, phrase, space)


def _lesson(number: int, weight: float, text: str, space: IntentSpace) -> _Lesson:
    found = features(text)
    return _Lesson(number, weight, space.probabilities(found), lexical(found, space))


def _shares(lessons: Sequence[_Lesson], count: int, space: IntentSpace) -> tuple[tuple[float, ...], ...]:
    """Return which share of each intent belongs to which scene."""
    evidence = [[0.0] * count for _intent in space.intents]
    for lesson in lessons:
        for position, probability in enumerate(lesson.intents):
            evidence[position][lesson.scene] += lesson.weight * probability
    # Scenes with many examples must not win intents by their number alone.
    totals = [sum(column) or 1.0 for column in zip(*evidence, strict=True)]
    mean = sum(totals) / count
    evidence = [[value * mean / total for value, total in zip(row, totals, strict=True)] for row in evidence]
    shares = []
    for position, row in enumerate(evidence):
        alike = space.confusion[position]
        near = [sum(a * other[scene] for a, other in zip(alike, evidence, strict=True)) for scene in range(count)]
        mixed = [(1 - _SPREAD) * own + _SPREAD * value for own, value in zip(row, near, strict=True)]
        sharp = [(value + 1e-3) ** _SHARPNESS for value in mixed]
        trust = sum(mixed) / (sum(mixed) + _DOUBT)
        shares.append(tuple(trust * value / sum(sharp) + (1 - trust) / count for value in sharp))
    return tuple(shares)


def _words(lessons: Sequence[_Lesson], shares: Sequence[Sequence[float]], count: int) -> dict[str, tuple[float, ...]]:
    """Learn what words speak for beyond their intents, by gradient descent with a rate per word (AdaGrad)."""
    words: dict[str, list[float]] = {}
    squares: dict[str, float] = {}
    bases = [from_intents(lesson.intents, shares) for lesson in lessons]
    order = list(range(len(lessons)))
    shuffle = random.Random(0).shuffle
    for _round in range(max(2, min(30, _STEPS // max(1, len(lessons))))):
        shuffle(order)
        for number in order:
            lesson = lessons[number]
            logits = list(bases[number])
            for word, value in lesson.words.items():
                row = words.get(word)
                if row is not None:
                    for scene in range(count):
                        logits[scene] += value * row[scene]
            faults = softmax(logits)
            faults[lesson.scene] -= 1
            weight = min(1.0, lesson.weight)
            size = weight * math.sqrt(sum(fault * fault for fault in faults))
            for word, value in lesson.words.items():
                row = words.setdefault(word, [0.0] * count)
                squares[word] = squares.get(word, 0.01) + (size * value) ** 2
                rate = _RATE / math.sqrt(squares[word])
                for scene in range(count):
                    row[scene] -= rate * (weight * value * faults[scene] + _DECAY * value * row[scene])
    return {word: tuple(row) for word, row in words.items() if max(map(abs, row)) >= 0.01}


def _wanted(policies: Iterable[PolicySnapshot]) -> dict[str, PolicySnapshot]:
    """Return the policies that need a scorer, by its fingerprint."""
    return {
        fingerprint(policy.scenes): policy for policy in policies if policy.mode == Policy.Mode.SMART and policy.scenes
    }


def ensure(policies: Iterable[PolicySnapshot]) -> None:
    """Train the scorers that smart policies lack."""
    wanted = _wanted(policies)
    present = set(TrainedScorer.objects.filter(fingerprint__in=wanted).values_list("fingerprint", flat=True))
    for key, policy in wanted.items():
        if key in present:
            continue
        weights = train(policy.scenes)
        report = {
            "scenes": [scene.name for scene in policy.scenes],
            "examples": sum(len(scene.examples) for scene in policy.scenes),
            "bytes": len(weights),
        }
        with transaction.atomic():
            # Another process may have been as quick.
            TrainedScorer.objects.get_or_create(fingerprint=key, defaults={"weights": weights, "report": report})
        logger.info("Trained the scorer %s of the policy %s (%d bytes)", key[:12], policy.name, len(weights))


def ensure_all() -> None:
    """Bring the scorers to what the configuration says: train what is missing, delete what nobody needs."""
    if not Policy.objects.filter(mode=Policy.Mode.SMART).exists():
        # Most installations, and each row of a configuration that is written one by one.
        TrainedScorer.objects.all().delete()
        return
    ensure(snapshot.load().policies.values())
    # Read anew: meanwhile another process may have trained for a newer configuration.
    unneeded = TrainedScorer.objects.exclude(fingerprint__in=_wanted(snapshot.load().policies.values()))
    if unneeded.exists():
        unneeded.delete()


def ensure_after_commit(**_kwargs: Any) -> None:
    """Bring the scorers to the change under way once it is committed: once, however many rows it writes.

    A change that is saved stays saved when training fails; the error is logged, and calls go on without the scorer.
    """
    if all(callback is not _ensure for _ids, callback, *_rest in transaction.get_connection().run_on_commit):
        transaction.on_commit(_ensure, robust=True)


def _ensure() -> None:
    # Outside of a transaction the callback runs at once, and `robust` holds there as well.
    ensure_all()
