"""The real gateway in a process of its own, started by its public contract: a configuration file and environment.

The interpreter is the current one: `manage.py migrate`, `manage.py apply_config`, then uvicorn. Nothing of the
caller's environment but PATH reaches it, so a developer's settings cannot change a test.
"""

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psycopg

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60.0
SECRETS = {
    "SECRET_KEY": "a-secret-key-for-tests-0123456789-0123456789-0123456789",
    "WOLFGATE_KEY_PEPPER": "a-pepper-for-tests-0123456789",
    "WOLFGATE_ENCRYPTION_KEYS": "dGVzdHMtb25seS1lbmNyeXB0aW9uLWtleS0wMTIzNDU=",
}
KEY = "wg_tests0123456789abcdefghijklmnopqrstuvwxyzAB"


def configuration(
    upstream_url: str,
    *,
    models: Sequence[str] = ("main",),
    routes: Mapping[str, Sequence[str]] | None = None,
    keys: Sequence[str] = (KEY,),
    quotas: Sequence[Mapping[str, Any]] = (),
    **settings: Any,
) -> dict[str, Any]:
    """Return a configuration with one provider `up` at `upstream_url` and one user `dev` with `keys`.

    `routes` maps an alias (also the route's name) to model ids in order; every other model name goes to the first
    of `models`. Key number n is named `key-n`. Prices are per million tokens: 3 in, 15 out, 0.3 and 3.75 cached.
    """
    price = {"currency": "USD", "input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75}
    limits = {"context_window": 200000, "max_output_tokens": 32000, "capabilities": ["tools", "vision", "thinking"]}
    routes = {"everyday": models[:1], **(routes or {})}
    return {
        "version": 1,
        "providers": [
            {
                "name": "up",
                "kind": "openai_compatible",
                "base_url": upstream_url,
                "wire_format": "openai",
                "allow_private_network": True,
                "credentials": [{"name": "default", "secret": "sk-upstream-0123456789"}],
                "models": [{"id": model, "price": price, **limits} for model in models],
            }
        ],
        "routes": [
            {"name": name, "order": "priority", "targets": [f"up/{model}" for model in targets]}
            for name, targets in routes.items()
        ],
        "aliases": [{"pattern": name, "target": f"route:{name}"} for name in routes],
        "policies": [{"name": "default", "default": True, "mode": "direct", "route": "everyday"}],
        "users": [{"username": "dev", "email": "dev@example.com", "roles": ["member"]}],
        "keys": [{"user": "dev", "name": f"key-{n}", "secret": key} for n, key in enumerate(keys)],
        "quotas": list(quotas),
        "settings": {"cooldown_enabled": False, **settings},
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def _migrated_sqlite() -> Path:
    """Return an empty migrated database, made once per test run and copied for each gateway."""
    folder = Path(tempfile.mkdtemp(prefix="wolfgate-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _manage(["migrate", "--verbosity", "0"], _environment(folder))
    return folder / "wolfgate.sqlite3"


def _environment(data_dir: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(data_dir),
        "LANG": "C.UTF-8",
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "WOLFGATE_DATA_DIR": str(data_dir),
        "DEBUG": "0",
        "LOG_LEVEL": "INFO",
        **SECRETS,
    }


def _manage(arguments: Sequence[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"manage.py {' '.join(arguments)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


class GatewayProcess:
    """A running gateway. Use as a context manager, or `start()` and `stop()`; `data_dir` survives a restart."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        database_url: str = "",
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        drain_timeout_s: int = 10,
        by_script: bool = False,
        application: str = "gateway.asgi:application",
    ) -> None:
        """`by_script` starts `scripts/serve` on the current interpreter instead of uvicorn with `application`."""
        self.data_dir = Path(tempfile.mkdtemp(prefix="wolfgate-data-"))
        self.port = free_port()
        self.environment = {
            **_environment(self.data_dir),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "WORKERS": str(workers),
            "DRAIN_TIMEOUT_S": str(drain_timeout_s),
            **({"DATABASE_URL": database_url} if database_url else {}),
            **(env or {}),
        }
        self._config = config
        self._database_url = database_url
        self._workers = workers
        self._drain_timeout_s = drain_timeout_s
        self._by_script = by_script
        self._application = application
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def claude_code_url(self) -> str:
        """What a user sets as ANTHROPIC_BASE_URL."""
        return f"{self.base_url}/api/v1/claude-code"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def database_path(self) -> Path:
        """Where the SQLite database lies."""
        return self.data_dir / "wolfgate.sqlite3"

    def start(self) -> Self:
        """Prepare the database on the first start, start the server and wait for `/readyz`."""
        config_path = self.data_dir / "config.json"
        if not config_path.exists():
            if self._database_url:
                self.manage("migrate", "--verbosity", "0")
            else:
                shutil.copy(_migrated_sqlite(), self.database_path)
            self.apply(self._config)
        if self._by_script:
            command = [sys.executable, "-m", "scripts.serve", "--system-python", "--config", str(config_path)]
        else:
            command = [sys.executable, "-m", "uvicorn", self._application, "--host", "127.0.0.1"]
            command += ["--port", str(self.port), "--workers", str(self._workers), "--lifespan", "on"]
            command += ["--timeout-graceful-shutdown", str(self._drain_timeout_s)]
            command += ["--no-access-log", "--log-level", "warning"]
        with (self.data_dir / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_ready()
        return self

    def apply(self, config: Mapping[str, Any]) -> None:
        """Apply `config`; a running gateway takes it over."""
        path = self.data_dir / "config.json"
        path.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
        self.manage("apply_config", str(path))

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a management command on the gateway's database. Raises `RuntimeError` when it fails."""
        return _manage(arguments, self.environment)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of `sql`, read from the gateway's database behind its back."""
        if self._database_url:
            with psycopg.connect(self._database_url) as connection:
                return connection.execute(sql.encode()).fetchall()
        with contextlib.closing(sqlite3.connect(self.database_path, timeout=20)) as database:
            return database.execute(sql).fetchall()

    def log(self) -> str:
        path = self.data_dir / "gateway.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def terminate(self) -> None:
        """Ask the server to drain and end; `wait()` returns its exit status."""
        assert self._process is not None
        self._process.terminate()

    def wait(self, timeout_s: float = 30.0) -> int:
        assert self._process is not None
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """Kill the server and its workers at once, as a power cut would."""
        assert self._process is not None
        for pid in process_tree(self._process.pid):
            os.kill(pid, signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        """End the process, kindly if it can be, and remove its data."""
        if self._process is not None and self._process.poll() is None:
            self.terminate()
            try:
                self.wait(self._drain_timeout_s + 5.0)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        reason = "no answer"
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the gateway exited {self._process.returncode}:\n{self.log()[-4000:]}")
            try:
                with urllib.request.urlopen(f"{self.base_url}/readyz", timeout=5):
                    return
            except urllib.error.HTTPError as error:
                reason = f"/readyz answers {error.code}"
            except OSError as error:
                reason = str(error)
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the gateway was not ready in {START_TIMEOUT_S} s ({reason}):\n{self.log()[-4000:]}")


def wait_until(holds: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Return when `holds()` is true; it is asked every 20 ms. Raises `TimeoutError`.

    For what a process does on its own time and nobody is told of.
    """
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still not so after {timeout_s} s")
        time.sleep(0.02)


def process_tree(pid: int) -> list[int]:
    """Return `pid` and all its descendants that are alive, parents first (Linux: /proc)."""
    found = [pid]
    for parent in found:  # grows while it is read
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in children.read_text().split())
            except OSError:  # that thread has just ended
                continue
    return found
