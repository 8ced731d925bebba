"""Runs the real Codex CLI, head-less and cut off from everything but loopback."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Nothing listens on the discard port: whatever is not loopback is refused at once.
DEAD_PROXY = "http://127.0.0.1:9"
TIMEOUT_S = 60.0
_CONFIG = """\
model_provider = "wolfgate"

[model_providers.wolfgate]
name = "Wolfgate"
base_url = "{base_url}"
env_key = "WOLFGATE_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0

[analytics]
enabled = false
"""


def client_path() -> str:
    """Return the path of the client's program, "" when CODEX_BIN names none."""
    path = os.environ.get("CODEX_BIN", "")
    return path if path and os.access(path, os.X_OK) else ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of the client printed: its exit status and the lines of `codex exec --json`."""

    exit_status: int
    lines: list[dict[str, Any]]

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Return the completed items of a type."""
        completed = [line["item"] for line in self.lines if line["type"] == "item.completed"]
        return [item for item in completed if item["type"] == kind]

    @property
    def text(self) -> str:
        """The client's final words, or the error that ended it."""
        messages = self.items("agent_message")
        return str(messages[-1]["text"] if messages else self.lines[-1])


@dataclass(slots=True)
class Codex:
    """A client with a home and a working folder of its own under `home`, pointed at a gateway."""

    home: Path
    base_url: str  # ends in /v1
    key: str

    @property
    def folder(self) -> Path:
        return self.home / "work"

    def ask(self, prompt: str, *arguments: str, model: str) -> Outcome:
        """Run the client once with `prompt` and return what it printed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.home / ".codex").mkdir(exist_ok=True)
        (self.home / ".codex" / "config.toml").write_text(_CONFIG.format(base_url=self.base_url), encoding="utf-8")
        options = ("--json", "--skip-git-repo-check", "-m", model, "-C", str(self.folder))
        done = subprocess.run(
            (client_path(), "exec", *options, *arguments, prompt),
            cwd=self.folder,
            env={
                "HOME": str(self.home),
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "LANG": "C.UTF-8",
                "HTTPS_PROXY": DEAD_PROXY,
                "HTTP_PROXY": DEAD_PROXY,
                "NO_PROXY": "127.0.0.1,localhost",
                "WOLFGATE_KEY": self.key,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert lines, f"exit {done.returncode}, no JSON: {done.stdout!r} {done.stderr!r}"
        return Outcome(done.returncode, lines)
