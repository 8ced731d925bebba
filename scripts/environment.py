"""The virtual environment beside the code: made once, brought up to date when a requirements file changes.

Runs on the system's Python, so it imports nothing but the standard library.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
VENV = REPO / ".venv"
PYTHON = VENV / "bin" / "python"
# These lists are complete but for the dependencies of a package of which only the data file is wanted.
WITHOUT_DEPENDENCIES = {"requirements-demo.txt"}


class SetupError(Exception):
    """Something that the person who starts Wolfgate has to put right; the text is one line that says how."""


def say(text: str) -> None:
    """Print a line about the set-up, apart from the standard output that others may read."""
    print(f"wolfgate: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an advisory lock on `path`, an existing file or folder, so that two starts do the work once."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def enter(module: str, arguments: Sequence[str], requirements: Sequence[str]) -> None:
    """Return when this process runs in the up-to-date environment; else bring it up to date and start over in it."""
    ensure(requirements)
    if Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(PYTHON, [str(PYTHON), "-P", "-m", module, *arguments])


def ensure(requirements: Sequence[str]) -> None:
    """Make `.venv` and install the named requirements files, unless their stamps say it was done.

    Raises `SetupError` when Python cannot make environments or pip fails.
    """
    if all(is_current(name) for name in requirements):
        return
    with exclusive(REPO / "requirements.txt"):
        if not runs("-m", "pip", "--version"):
            make()
        for name in requirements:
            if not is_current(name):
                install(name)


def is_current(requirements: str) -> bool:
    """Say whether the stamp of the last installation matches the file and the environment's Python."""
    try:
        return stamp_of(requirements).read_text() == fingerprint(REPO / requirements, python_version())
    except OSError:
        return False


def stamp_of(requirements: str) -> Path:
    return VENV / f".installed-{requirements}"


def fingerprint(requirements: Path, version: str) -> str:
    """Return the text that changes when the requirements change or the environment's Python was replaced."""
    return f"{version} {hashlib.sha256(requirements.read_bytes()).hexdigest()}\n"


def python_version() -> str:
    """Return "3.11" or so of the environment's Python. A distribution's upgrade may put another one under it."""
    if Path(sys.prefix).resolve() == VENV.resolve():
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    code = "import sys; print(f'{sys.version_info.major}.{sys.version_info.minor}')"
    return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def runs(*arguments: str) -> bool:
    """Say whether the environment's Python exists and succeeds with these arguments."""
    try:
        return subprocess.run([PYTHON, *arguments], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def make() -> None:
    """Make the environment anew: there is none, or a start was interrupted, or its Python is gone."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if any(importlib.util.find_spec(name) is None for name in ("venv", "ensurepip")):
        raise SetupError(
            f"Python {version} ({sys.executable}) has no venv module;"
            f" install it (Debian, Ubuntu: apt install python{version}-venv) and start again"
        )
    say(f"making {VENV} with Python {version}")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False)
    if made.returncode:
        lines = (made.stderr or made.stdout).strip().splitlines() or ["no reason given"]
        raise SetupError(f"cannot make {VENV}: {lines[-1]}")


def install(requirements: str) -> None:
    """Install one requirements file into the environment and stamp it. pip's own errors go to standard error."""
    say(f"installing {requirements} (only when it changes; takes up to a minute)")
    command = [str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps"] if requirements in WITHOUT_DEPENDENCIES else []
    # pip reports on standard output too; ours stays free for the lines to paste.
    if subprocess.run([*command, "-r", str(REPO / requirements)], stdout=sys.stderr, check=False).returncode:
        raise SetupError(f"pip could not install {requirements}: the lines above say why (a proxy? set HTTPS_PROXY)")
    stamp = stamp_of(requirements)
    stamp.write_text(fingerprint(REPO / requirements, python_version()))


def main() -> int:
    try:
        ensure(sys.argv[1:])
    except SetupError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
