"""The message catalogues are complete: each text of the sources is translated, none is fuzzy, none is left over."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "providers", "routing", "accounts")
CATALOGUES = {path.parent.parent.name: path for path in sorted((ROOT / "locale").glob("*/LC_MESSAGES/django.po"))}
FUNCTIONS = {"gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy", "pgettext", "pgettext_lazy"}
CONTEXT_ENDS = "\x04"  # as in compiled catalogues


@dataclass(slots=True)
class Entry:
    texts: tuple[str, ...]  # msgid, behind its context if it has one, and msgid_plural if there is one
    translations: list[str] = field(default_factory=list)
    is_fuzzy: bool = False


def parse(text: str) -> list[Entry]:
    """Return the entries of a catalogue, without its head."""
    entries = []
    for block in re.split(r"\n{2,}", text):
        values: dict[str, str] = {}
        keyword = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            match = re.fullmatch(r'(?:(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) )?(".*")', line)
            assert match is not None, f"not understood: {line}"
            keyword = match[1] or keyword
            values[keyword] = values.get(keyword, "") + ast.literal_eval(match[2])
        if values.get("msgid"):
            if "msgctxt" in values:
                values["msgid"] = values["msgctxt"] + CONTEXT_ENDS + values["msgid"]
            texts = tuple(values[name] for name in ("msgid", "msgid_plural") if name in values)
            translations = [value for name, value in values.items() if name.startswith("msgstr")]
            entries.append(Entry(texts, translations, bool(re.search(r"^#,.*\bfuzzy\b", block, re.MULTILINE))))
    return entries


def of_python(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the texts that a module marks for translation: one, or singular and plural."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation":
            names.update({alias.asname or alias.name: alias.name for alias in node.names if alias.name in FUNCTIONS})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            has_context = names[node.func.id].startswith("pgettext")
            count = 2 if has_context or names[node.func.id].startswith("ngettext") else 1
            texts = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args[:count]]
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            assert len(texts) == count, where
            assert all(isinstance(text, str) for text in texts), f"{where}: only a literal can be translated"
            yield (CONTEXT_ENDS.join(map(str, texts)),) if has_context else tuple(map(str, texts))


def of_template(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the texts that a template marks for translation."""
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"""\{%\s*translate\s+(?:"([^"]*)"|'([^']*)')""", text):
        yield (match[1] or match[2],)
    for match in re.finditer(r"\{%\s*blocktranslate\b([^%]*)%\}(.*?)\{%\s*endblocktranslate\s*%\}", text, re.DOTALL):
        parts = re.split(r"\{%\s*plural\s*%\}", match[2])
        if "trimmed" in match[1].split():
            parts = [" ".join(line.strip() for line in part.strip().splitlines()) for part in parts]
        yield tuple(re.sub(r"\{\{\s*(\w+)\s*\}\}", r"%(\1)s", part) for part in parts)


def sources() -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                found.update(of_python(path))
    for path in sorted((ROOT / "templates").rglob("*.html")):
        found.update(of_template(path))
    return found


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"%\(\w+\)[#0\- +]*[\d.]*[a-zA-Z]|%[a-zA-Z]|\{\w*\}", text.replace("%%", "")))


def test_both_languages_ship() -> None:
    assert set(CATALOGUES) == {"en", "zh_Hans"}


@pytest.mark.parametrize("language", CATALOGUES)
def test_every_text_is_in_the_catalogue_and_nothing_else(language: str) -> None:
    text = CATALOGUES[language].read_text(encoding="utf-8")
    entries = [entry.texts for entry in parse(text)]
    # With a plural anywhere, gettext keeps singular and plural as one entry.
    plurals = {texts[0]: texts for texts in entries if len(texts) == 2}
    wanted = {plurals.get(texts[0], texts) for texts in sources()}
    assert sorted(wanted - set(entries)) == [], "missing: run makemessages"
    assert sorted(set(entries) - wanted) == [], "left over: run makemessages"
    assert len(entries) == len(set(entries)), "a text is there twice"
    assert "\n#~" not in text, "obsolete entries"


@pytest.mark.parametrize("language", CATALOGUES)
def test_every_entry_is_translated(language: str) -> None:
    entries = parse(CATALOGUES[language].read_text(encoding="utf-8"))
    assert [entry.texts[0] for entry in entries if entry.is_fuzzy] == []
    assert [entry.texts[0] for entry in entries if not entry.translations or not all(entry.translations)] == []
    expected = {"en": 2, "zh_Hans": 1}[language]
    assert [entry.texts[0] for entry in entries if len(entry.texts) == 2 and len(entry.translations) != expected] == []


@pytest.mark.parametrize("language", CATALOGUES)
def test_translations_keep_the_placeholders(language: str) -> None:
    for entry in parse(CATALOGUES[language].read_text(encoding="utf-8")):
        for translation in entry.translations:
            assert placeholders(translation) in [placeholders(text) for text in entry.texts], entry.texts[0]


def test_english_is_the_source() -> None:
    for entry in parse(CATALOGUES["en"].read_text(encoding="utf-8")):
        assert tuple(entry.translations) == (entry.texts[0].rpartition(CONTEXT_ENDS)[2], *entry.texts[1:])


def test_chinese_is_chinese() -> None:
    # Names of products, formats and languages stay as they are.
    kept = {"OpenAI Chat Completions", "Anthropic Messages", "tokens", "Tokens"}
    for entry in parse(CATALOGUES["zh_Hans"].read_text(encoding="utf-8")):
        bare = re.sub(r"%\(\w+\)[a-z]", "", entry.texts[0])
        if entry.texts[0] not in kept and re.search(r"[A-Za-z]{2}", bare):
            assert re.search(r"[\u4e00-\u9fff]", entry.translations[0]), entry.texts[0]


CASES = [
    ('msgid "a"\nmsgstr ""\n', [Entry(("a",), [""])]),
    ('#, fuzzy, python-format\nmsgid "a"\n"b"\nmsgstr "c"\n', [Entry(("ab",), ["c"], True)]),
    ('msgid "a"\nmsgid_plural "b"\nmsgstr[0] "c"\nmsgstr[1] "d"\n', [Entry(("a", "b"), ["c", "d"])]),
    ('msgctxt "c"\nmsgid "a"\nmsgstr "b"\n', [Entry(("c\x04a",), ["b"])]),
    ('msgid ""\nmsgstr "head"\n\n#~ msgid "old"\n#~ msgstr "alt"\n', []),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_the_parser(text: str, expected: list[Entry]) -> None:
    assert parse(text) == expected
