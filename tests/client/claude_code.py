"""Runs the real Claude Code client, head-less and cut off from everything but loopback."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Nothing listens on the discard port: whatever is not loopback is refused at once.
DEAD_PROXY = "http://127.0.0.1:9"


def client_path() -> str:
    """Return the path of the client's program, "" when CLAUDE_CODE_BIN names none."""
    path = os.environ.get("CLAUDE_CODE_BIN", "")
    return path if path and os.access(path, os.X_OK) else ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of the client printed."""

    exit_status: int
    stdout: str
    stderr: str

    @property
    def result(self) -> dict[str, Any]:
        """The JSON result that `-p --output-format json` prints. Raises `AssertionError` with the output when none."""
        try:
            result = json.loads(self.stdout)
        except ValueError:
            raise AssertionError(f"exit {self.exit_status}, no JSON: {self.stdout!r} {self.stderr!r}") from None
        assert isinstance(result, dict)
        return result

    @property
    def text(self) -> str:
        """The client's final words."""
        return str(self.result["result"])


@dataclass(slots=True)
class ClaudeCode:
    """A client with a home and a working folder of its own under `home`, pointed at a gateway."""

    home: Path
    base_url: str
    key: str
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 90.0

    @property
    def folder(self) -> Path:
        return self.home / "work"

    def ask(self, prompt: str, *arguments: str) -> Outcome:
        """Run the client once with `prompt` and return what it printed."""
        self._settle_in()
        command: Sequence[str] = (client_path(), "-p", prompt, "--output-format", "json", *arguments)
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self.timeout_s,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def _settle_in(self) -> None:
        """Make the home of a client that has been started before: no first-run questions."""
        for folder in (self.folder, self.home / ".claude", self.home / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        state = self.home / ".claude.json"
        if not state.exists():
            trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True, "allowedTools": []}
            state.write_text(
                json.dumps(
                    {
                        "hasCompletedOnboarding": True,
                        "numStartups": 5,
                        "autoUpdates": False,
                        "bypassPermissionsModeAccepted": True,
                        "projects": {str(self.folder): trusted},
                    }
                ),
                encoding="utf-8",
            )

    def _environment(self) -> dict[str, str]:
        """Return the whole environment of the client; nothing of the caller's own is handed on."""
        return {
            "HOME": str(self.home),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TMPDIR": str(self.home / "tmp"),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            "IS_SANDBOX": "1",
            "HTTPS_PROXY": DEAD_PROXY,
            "HTTP_PROXY": DEAD_PROXY,
            "NO_PROXY": "127.0.0.1,localhost",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "ANTHROPIC_BASE_URL": self.base_url,
            "ANTHROPIC_AUTH_TOKEN": self.key,
            **self.environment,
        }
