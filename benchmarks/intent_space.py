"""Learn the intent space from the seed prompts: routing/data/intent_space.bin.

    pip install scikit-learn
    python -m benchmarks.intent_space [--vectors FILE]

A regression on the rarity-weighted features of the seeds. Word vectors (`benchmarks.word_vectors` makes them) lend
weights to words that no seed has: the regression sees their mean as well, and what it makes of them is written into
the same rows, so that nothing of the vectors is needed later.
"""

import argparse
import json
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

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


def build(seeds: Sequence[tuple[str, str]], vectors: dict[str, Any], *, folds: int = 5) -> bytes:
    """Train, and return the file."""
    found = [features(text) for text, _intent in seeds]
    labels = np.array([intent for _text, intent in seeds])
    counts = Counter(feature for each in found for feature in each)
    names = sorted({name for name, count in counts.items() if count >= 2} | set(vectors))
    column = {name: position for position, name in enumerate(names)}
    rarity = np.array([min(MAX_RARITY, np.log((len(found) + 1) / (counts[name] + 1)) + 1) for name in names])
    words = _matrix(found, column, rarity)
    dense = np.zeros((len(names), len(next(iter(vectors.values()))) if vectors else 1), dtype=np.float32)
    for name, vector in vectors.items():
        dense[column[name]] = vector
    means = VECTOR_WEIGHT * (words @ dense)
    inputs = hstack([words, csr_matrix(means)]).tocsr()
    model = LogisticRegression(C=STRENGTH, max_iter=400)
    confusion = np.zeros((0, 0))
    if folds:
        split = StratifiedKFold(folds, shuffle=True, random_state=0)
        seen = cross_val_predict(model, inputs, labels, cv=split, method="predict_proba", n_jobs=2)
        intents = np.unique(labels)
        print("right of unseen seeds:", round(float((intents[seen.argmax(1)] == labels).mean()), 4), file=sys.stderr)
        confusion = np.array([seen[labels == intent].mean(0) for intent in intents])
    model.fit(inputs, labels)
    coefficients = model.coef_
    weights = coefficients[:, : len(names)].T + VECTOR_WEIGHT * dense @ coefficients[:, len(names) :].T
    return _packed(names, weights * rarity[:, None], rarity, model, confusion)


def _matrix(found: Sequence[frozenset[str]], column: dict[str, int], rarity: Any) -> Any:
    indices = [[column[name] for name in each if name in column] for each in found]
    values = [rarity[each] / max(np.sqrt((rarity[each] ** 2).sum()), 1e-9) for each in indices]
    pointers = np.cumsum([0, *map(len, indices)])
    return csr_matrix(
        (np.concatenate(values), np.concatenate(indices).astype(int), pointers), (len(found), len(column))
    )


def _packed(names: list[str], weights: Any, rarity: Any, model: Any, confusion: Any) -> bytes:
    # What is common to all intents changes nothing.
    weights = weights - weights.mean(1, keepdims=True)
    scale = float(np.quantile(np.abs(weights).max(1), 0.9995)) / 127
    quantised = np.clip(np.rint(weights / scale), -127, 127) + ZERO
    rarity_scale = MAX_RARITY**2 / 255
    squares = np.clip(np.rint(rarity**2 / rarity_scale), 1, 255)
    matrix = np.column_stack([quantised, squares]).astype(np.uint8)
    listed = "\n".join(names).encode()
    header = {
        "intents": model.classes_.tolist(),
        "bias": [round(float(value), 5) for value in model.intercept_],
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
