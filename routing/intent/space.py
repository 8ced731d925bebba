"""The intent space: how much each feature of a prompt speaks for each of some fine-grained intents.

It is learnt once, from the bundled seed prompts (benchmarks/intent_space.py), and is the same for every set of
scenes. One row of bytes per feature makes it small, quick to load, and independent of any numeric library.
"""

import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "data" / "intent_space.bin"
MAGIC = b"WGIS1\n"
ZERO = 128  # the byte that stands for the weight 0


@dataclass(frozen=True, slots=True)
class IntentSpace:
    """Rows of bytes: per feature one weight for each intent, and at the end its squared rarity."""

    digest: str
    intents: tuple[str, ...]
    bias: tuple[float, ...]
    confusion: tuple[tuple[float, ...], ...]  # how prompts of each intent look, on average, to the space
    weight_scale: float
    rarity_scale: float
    rows: dict[str, bytes]

    def rarity(self, feature: str) -> float | None:
        """Return the inverse document frequency of a feature, None of an unknown one."""
        row = self.rows.get(feature)
        return None if row is None else math.sqrt(row[-1] * self.rarity_scale)

    def logits(self, features: Iterable[str]) -> list[float]:
        """Return what speaks for each intent, in log-odds."""
        rows = [row for row in map(self.rows.get, features) if row is not None]
        if not rows:
            return list(self.bias)
        *sums, rarity = [sum(column) for column in zip(*rows, strict=True)]
        factor = self.weight_scale / math.sqrt(max(rarity, 1) * self.rarity_scale)
        zero = ZERO * len(rows)
        return [bias + factor * (total - zero) for bias, total in zip(self.bias, sums, strict=True)]

    def probabilities(self, features: Iterable[str]) -> list[float]:
        """Return the probability of each intent."""
        return softmax(self.logits(features))


def softmax(logits: Sequence[float]) -> list[float]:
    """Turn log-odds into probabilities that add up to 1."""
    top = max(logits)
    exponentials = [math.exp(value - top) for value in logits]
    total = sum(exponentials)
    return [value / total for value in exponentials]


def from_bytes(data: bytes) -> IntentSpace:
    """Read a space. Raises ValueError for anything else."""
    if not data.startswith(MAGIC):
        raise ValueError("not an intent space of this version")
    try:
        plain = zlib.decompress(data[len(MAGIC) :])
    except zlib.error as error:
        raise ValueError("the intent space is damaged") from error
    head, _, rest = plain.partition(b"\n\n")
    header = json.loads(head)
    names = rest[: header["names_bytes"]].decode().split("\n")
    matrix = rest[header["names_bytes"] :]
    width = len(header["intents"]) + 1
    if len(matrix) != width * len(names):
        raise ValueError("the intent space is damaged")
    count = len(names)
    # Stored column by column, which compresses better.
    columns = [matrix[start : start + count] for start in range(0, len(matrix), count)]
    return IntentSpace(
        digest=hashlib.sha256(data).hexdigest(),
        intents=tuple(header["intents"]),
        bias=tuple(header["bias"]),
        confusion=tuple(tuple(row) for row in header["confusion"]),
        weight_scale=header["weight_scale"],
        rarity_scale=header["rarity_scale"],
        rows=dict(zip(names, map(bytes, zip(*columns, strict=True)), strict=True)),
    )


@cache
def load() -> IntentSpace:
    """Return the bundled space, read once in a process."""
    return from_bytes(FILE.read_bytes())
