"""The local scorer: which scene a prompt belongs to, and how sure that is. Plain arithmetic, no library."""

import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from routing.intent import space as intent_space
from routing.intent.features import features
from routing.intent.space import IntentSpace, softmax

MAGIC = b"WGSC1\n"
VERSION = 2  # of what training makes of the same scenes and the same space; raise it with any change of either
_UNKNOWN_RARITY = 8.0  # of a word that the seeds do not know
_FLOOR = 1e-3  # no intent rules a scene out
# Kinds of features that carry a house's own vocabulary: words, pairs of words, Chinese characters.
_LEXICAL = ("w:", "b:", "z:")


class UnreadableWeights(ValueError):
    """Bytes that are not the weights of a scorer, or not of this version."""


class SceneWords(Protocol):
    """What a scene says about itself."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def examples(self) -> Sequence[str]: ...


def fingerprint(scenes: Iterable[SceneWords]) -> str:
    """Return what names the scorer of these scenes, in any order: their words, the space, and the version."""
    words = sorted([scene.name, scene.description, list(scene.examples)] for scene in scenes)
    text = json.dumps([VERSION, intent_space.load().digest, words], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def lexical(found: Iterable[str], space: IntentSpace) -> dict[str, float]:
    """Return the words among features, each by its rarity, as a vector of length 1."""
    rarities = {feature: space.rarity(feature) or _UNKNOWN_RARITY for feature in found if feature.startswith(_LEXICAL)}
    length = math.sqrt(sum(rarity * rarity for rarity in rarities.values()))
    return {feature: rarity / length for feature, rarity in rarities.items()}


@dataclass(frozen=True, slots=True)
class Scorer:
    """What was learnt for one set of scenes."""

    scenes: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]  # of each intent, one share per scene; they add up to 1
    words: Mapping[str, Sequence[float]]  # what a word speaks for beyond its intent, per scene
    temperature: float
    space: IntentSpace

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read weights. Raises `UnreadableWeights`."""
        space = intent_space.load()
        if not data.startswith(MAGIC):
            raise UnreadableWeights("the weights are not those of a scorer of this version")
        try:
            stored = json.loads(zlib.decompress(data[len(MAGIC) :]))
            scorer = cls(
                scenes=tuple(stored["scenes"]),
                shares=tuple(tuple(map(float, row)) for row in stored["shares"]),
                words={word: tuple(map(float, row)) for word, row in stored["words"].items()},
                temperature=float(stored["temperature"]),
                space=space,
            )
        except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableWeights(f"the weights of the scorer are damaged: {error}") from error
        count = len(scorer.scenes)
        if stored.get("space") != space.digest or len(scorer.shares) != len(space.intents):
            raise UnreadableWeights("the weights of the scorer belong to another intent space")
        if not count or any(len(row) != count for row in (*scorer.shares, *scorer.words.values())):
            raise UnreadableWeights("the weights of the scorer are damaged: a row has another length")
        return scorer

    def to_bytes(self) -> bytes:
        """Write the weights; the same scorer gives the same bytes."""
        stored = {
            "space": self.space.digest,
            "scenes": self.scenes,
            "temperature": self.temperature,
            "shares": [[round(share, 5) for share in row] for row in self.shares],
            "words": {word: [round(value, 4) for value in row] for word, row in sorted(self.words.items())},
        }
        return MAGIC + zlib.compress(json.dumps(stored, ensure_ascii=False).encode("utf-8", "surrogatepass"), 9)

    def scores(self, text: str) -> dict[str, float]:
        """Return the probability of each scene; they add up to 1."""
        if not text.strip():
            return dict.fromkeys(self.scenes, 1 / len(self.scenes))
        found = features(text)
        logits = from_intents(self.space.probabilities(found), self.shares)
        for feature, value in lexical(found, self.space).items():
            row = self.words.get(feature)
            if row is not None:
                for position, weight in enumerate(row):
                    logits[position] += value * weight
        return dict(zip(self.scenes, softmax([logit / self.temperature for logit in logits]), strict=True))


def from_intents(probabilities: Sequence[float], shares: Sequence[Sequence[float]]) -> list[float]:
    """Return what the intents speak for, in log-odds per scene."""
    return [
        math.log(_FLOOR + sum(p * share for p, share in zip(probabilities, column, strict=True)))
        for column in zip(*shares, strict=True)
    ]
