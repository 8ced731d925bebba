"""What a prompt is made of, as far as its intent shows: words, letters and characters in a row, and its structure."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

# What is asked stands at the beginning or at the end; between them is what was pasted.
HEAD_CHARACTERS = 400
TAIL_CHARACTERS = 200
_MAX_READ = 4_000  # of the text; longer ones are cut in the middle before anything is looked at
_CODE_READ = 2_000

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[^\W\d_{_HAN}]+(?:'[^\W\d_{_HAN}]+)?|\d+|[{_HAN}]+|[^\w\s]|_+")
_IS_HAN = re.compile(rf"[{_HAN}]")
_SENTENCE_END = re.compile(r"[.!?\n。！？]+")
_LETTERS = re.compile(r"[A-Za-z]{2,}")
_CODE_START = re.compile(
    r"\s*(?:[{}()\[\];<>/*#@$|+\-=]|def |class |import |from \S+ import|return\b|const |let |var |function |public |"
    r"private |SELECT |if ?\(|for ?\(|while ?\(|File \"|at \S+\(|Traceback|\w*Error:|\w*Exception|\d{4}-\d\d-\d\d|"
    r"\S+\(\S*\)[;{]?$|\S+ ?= ?\S+|\S+: ?\S+$)"
)
_SYMBOL = re.compile(r"""[{}()\[\];=<>_/\\|$&*+"'`]""")
_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128)

_TRACE = re.compile(r"traceback|error\b|exception\b|failed|stack trace|panic|    at |报错|异常", re.IGNORECASE)
_PATH = re.compile(
    r"[\w/]\.(?:py|js|ts|tsx|jsx|go|rs|java|vue|css|html|json|ya?ml|toml|sql|sh|md|cpp|c|kt|swift|php|rb)\b"
)
_IDENTIFIER = re.compile(r"\b[A-Za-z]+_\w|\b[a-z]+[A-Z]\w|`")
_SQL = re.compile(r"\bselect\b[^;]{1,200}\bfrom\b", re.IGNORECASE)
_DIFF = re.compile(r"^(?:[-+] ?\S|@@ )", re.MULTILINE)


def features(text: str) -> frozenset[str]:
    """Return the features of a prompt. Pure and deterministic; the text may be anything."""
    if len(text) > _MAX_READ:
        text = f"{text[: _MAX_READ // 2]}\n{text[-_MAX_READ // 2 :]}"
    text = unicodedata.normalize("NFKC", text)
    prose, code = _prose_and_code(text)
    if not prose.strip():
        prose, code = code, prose
    if len(prose) > HEAD_CHARACTERS + TAIL_CHARACTERS:
        prose = f"{prose[:HEAD_CHARACTERS]}\n{prose[-TAIL_CHARACTERS:]}"
    low = prose.casefold()
    tokens = _TOKEN.findall(low)
    words = list(_words(tokens))
    found = set(_of_words(words))
    for token in tokens:
        found.update(_of_token(token))
    for sentence in _SENTENCE_END.split(low):
        inner = _TOKEN.findall(sentence)
        if inner:
            first, last = inner[0], inner[-1]
            found.add(f"sb:{first[:2] if _IS_HAN.match(first) else first}")
            found.add(f"se:{last[-2:] if _IS_HAN.match(last) else last}")
    found.update(_of_structure(text[:_CODE_READ], low, code[:_CODE_READ], len(words)))
    return frozenset(found)


def _words(tokens: list[str]) -> Iterator[str]:
    for token in tokens:
        if _IS_HAN.match(token):
            yield from token
        else:
            yield "0" if token.isdigit() else token


def _of_words(words: list[str]) -> Iterator[str]:
    for word in words:
        if not _IS_HAN.match(word):
            yield f"w:{word}"
    framed = ["^", *words, "$"]
    for left, right in pairwise(framed):
        yield f"b:{left} {right}"
    for left, right in zip(words, words[2:], strict=False):
        if not _IS_HAN.match(left):
            yield f"s:{left} {right}"
    for position, word in enumerate(words[:3]):
        yield f"p{position}:{word}"


def _of_token(token: str) -> Iterator[str]:
    if _IS_HAN.match(token):
        for size in (1, 2, 3):
            for start in range(len(token) - size + 1):
                yield f"z:{token[start : start + size]}"
    elif token[0].isalpha():
        framed = f"<{token[:20]}>"
        for size in (3, 4, 5):
            for start in range(len(framed) - size + 1):
                yield f"g:{framed[start : start + size]}"


def _of_structure(text: str, prose: str, code: str, length: int) -> Iterator[str]:
    for bound in _LENGTHS:
        if length > bound:
            yield f"n>{bound}"
    yield "L:zh" if _IS_HAN.search(prose) else "L:en"
    if "?" in prose:
        yield "?"
        if prose.rstrip().endswith("?"):
            yield "?$"
    if "!" in prose:
        yield "!"
    if code.strip():
        yield "code"
        if len(code) > 300:
            yield "code+"
        for name, pattern in (("trace", _TRACE), ("sql", _SQL), ("diff", _DIFF)):
            if pattern.search(code):
                yield f"c:{name}"
    for name, pattern in (("trace", _TRACE), ("path", _PATH), ("ident", _IDENTIFIER), ("sql", _SQL)):
        if pattern.search(text):
            yield f"x:{name}"


def _prose_and_code(text: str) -> tuple[str, str]:
    """Tell what a person wrote from what was pasted: fenced blocks, and lines that look like code or a log."""
    prose: list[str] = []
    code: list[str] = []
    for number, part in enumerate(text.split("```")):
        if number % 2:
            code.append(part)
        elif "\n" not in part:
            prose.append(part)
        else:
            for line in part.split("\n"):
                (code if _is_code(line) else prose).append(line)
    return "\n".join(line for line in prose if line.strip()), "\n".join(code)


def _is_code(line: str) -> bool:
    line = line[:400]
    bare = line.strip()
    if len(bare) < 2:
        return False
    han = len(_IS_HAN.findall(bare))
    if han >= 2 and han * 3 > len(bare):
        return False
    symbols = len(_SYMBOL.findall(bare))
    return (
        symbols * 5 > len(bare)
        or line.startswith(("    ", "\t"))
        or (symbols > 0 and _CODE_START.match(line) is not None)
    )
