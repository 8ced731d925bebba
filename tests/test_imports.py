"""The walls of the house: an app imports only from apps to its left, and translation is pure."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("providers", "routing", "accounts", "gateway")
# The theme of the admin may be imported by one file only.
THEMES = ("unfold",)
PURE = ROOT / "providers" / "translation"
# orjson does no I/O and wire_json is the border's pure codec.
PURE_ALLOWED = {"orjson", "providers.translation", "providers.wire_json"}
IMPURE_STDLIB = {"time", "random", "secrets", "os", "socket", "threading", "asyncio", "datetime", "uuid", "logging"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def string_references(path: Path) -> Iterator[str]:
    """Yield "app" of each `ForeignKey("app.Model")` and the like: a string is an import too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first = node.args[0]
            if node.func.attr in ("ForeignKey", "OneToOneField", "ManyToManyField") and isinstance(first, ast.Constant):
                app, _, model = str(first.value).partition(".")
                if model:
                    yield app


def source_files(app: str) -> list[Path]:
    return sorted(path for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts)


@pytest.mark.parametrize("app", APPS)
def test_an_app_imports_only_from_apps_to_its_left(app: str) -> None:
    forbidden = set(APPS[APPS.index(app) + 1 :])
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in source_files(app)
        for name in [*imports(path), *string_references(path)]
        if name.split(".")[0] in forbidden
    ]
    assert not wrong


def test_translation_is_pure() -> None:
    wrong = []
    for path in sorted(PURE.rglob("*.py")):
        for name in imports(path):
            root = name.split(".")[0]
            if any(name == allowed or name.startswith(f"{allowed}.") for allowed in PURE_ALLOWED):
                continue
            if root not in sys.stdlib_module_names or root in IMPURE_STDLIB:
                wrong.append(f"{path.name}: {name}")
    assert not wrong


def test_one_file_imports_the_theme() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for app in APPS
        for path in source_files(app)
        if any(name.split(".")[0] in THEMES for name in imports(path))
    }
    assert users <= {"gateway/admin_base.py"}


def test_no_file_is_a_bag() -> None:
    bags = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert not [path for app in APPS for path in source_files(app) if path.name in bags]


def test_no_file_is_longer_than_400_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines}"
        for app in APPS
        for path in source_files(app)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    ]
    assert not long
