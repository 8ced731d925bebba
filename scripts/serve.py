"""Set up what is missing and serve Wolfgate in the foreground; `scripts/serve` finds a Python and runs this.

The process that is started is the process that serves: a signal reaches the server itself, SIGTERM lets open streams
finish (at most DRAIN_TIMEOUT_S seconds) and ends with exit status 0.
"""

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from scripts.environment import REPO, SetupError, enter, say

# What this file must know before Django can be asked; the settings read the same names.
DEFAULTS = {"HOST": "127.0.0.1", "PORT": "8000", "WORKERS": "1", "WOLFGATE_DATA_DIR": str(REPO / "var")}
# A client's pooled connection stays usable between two turns of a conversation; load balancers close after 60 s.
KEEP_ALIVE_S = 75


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/serve",
        description="Set up what is missing and serve Wolfgate in the foreground.",
        epilog="Environment: HOST, PORT, WORKERS, DATABASE_URL, WOLFGATE_DATA_DIR, PYTHON and the rest of"
        " docs/OPERATIONS.md; a file .env beside README.md is read too. A flag wins over both.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="apply this configuration (YAML or JSON) first")
    parser.add_argument("--demo", action="store_true", help="serve a small local model as well: no key, no internet")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (default 8000)")
    parser.add_argument("--workers", help="processes (default 1; more than one needs PostgreSQL)")
    parser.add_argument(
        "--system-python", action="store_true", help="use the running Python as it is instead of .venv (containers)"
    )
    return parser.parse_args(arguments)


def settle_environment(options: argparse.Namespace) -> None:
    """Put flags, environment, `.env` and defaults, in this order, into the environment, where the settings look."""
    from_file = read_dotenv(REPO / ".env")
    flags = {"HOST": options.host, "PORT": options.port, "WORKERS": options.workers}
    for name, default in DEFAULTS.items():
        os.environ[name] = flags.get(name) or os.environ.get(name) or from_file.get(name) or default
    os.environ["WOLFGATE_DATA_DIR"] = str(Path(os.environ["WOLFGATE_DATA_DIR"]).resolve())
    for name, highest in (("PORT", 65535), ("WORKERS", 1024)):
        if not (os.environ[name].isdecimal() and 1 <= int(os.environ[name]) <= highest):
            raise SetupError(f"{name}={os.environ[name]} is not a number from 1 to {highest}")
    if options.config and not options.config.is_file():
        raise SetupError(f"there is no configuration file {options.config}")


def read_dotenv(file: Path) -> dict[str, str]:
    """Return the plain NAME=value lines of `.env`; a first start has no django-environ that could read them."""
    if not file.is_file():
        return {}
    lines = [line.strip().removeprefix("export ") for line in file.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return {name.strip(): value.split(" #")[0].strip().strip("'\"") for name, _, value in pairs}


def check_port(host: str, port: int) -> None:
    """Raise `SetupError` when the address cannot be listened on: better now than after minutes of installing."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            # Linux lets two sockets bind with SO_REUSEADDR; only listening shows that the port is taken.
            probe.listen(1)
    except socket.gaierror as error:
        raise SetupError(f"HOST={host} is not an address of this machine ({error.strerror})") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"port {port} on {host} is busy; stop what listens there or take another one, e.g. PORT={port + 1}"
        else:
            hint = f"cannot listen on {host} port {port}: {error.strerror}; choose others with HOST=… PORT=…"
        raise SetupError(hint) from error


def start_demo_model(data_dir: Path) -> "tuple[subprocess.Popen[bytes], int]":
    from scripts.demo_model import DemoModelFailed, start

    folder = data_dir / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    say("starting the demo model")
    try:
        return start(folder / "model.log")
    except DemoModelFailed as error:
        raise SetupError(str(error)) from error


def invitation(key: str | None) -> str:
    """Return what the person at the terminal does next: the admin's address and the lines to paste."""
    from django.conf import settings

    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.HOST, settings.HOST)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    base = settings.PUBLIC_URL or f"http://{host}:{settings.PORT}"
    hint = "" if key else f"   # keys are made at {base}/admin/"
    return (
        f"\nWolfgate is ready.\n"
        f"  Admin:        {base}/admin/\n"
        f"  Claude Code:  paste these two lines, then run `claude`\n\n"
        f"export ANTHROPIC_BASE_URL={base}/api/v1/claude-code\n"
        f"export ANTHROPIC_AUTH_TOKEN={key or '<your key>'}{hint}\n\n"
        f"Claude Code starts in auto mode, which needs a safety classifier (Admin, Settings). Without one, write\n"
        f'{{"permissions": {{"defaultMode": "acceptEdits"}}}} into ~/.claude/settings.json, and it asks you instead.\n'
    )


def serve_one(text: str) -> None:
    """Serve in this process with uvicorn, printing `text` once it listens. Returns only when it could not start."""
    import uvicorn
    from django.conf import settings

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(text, flush=True)

    Server(
        uvicorn.Config(
            "gateway.asgi:application",
            host=settings.HOST,
            port=settings.PORT,
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            forwarded_allow_ips=settings.TRUSTED_PROXIES,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.DRAIN_TIMEOUT_S,
        )
    ).run()


def serve_many(text: str) -> NoReturn:
    """Become gunicorn, which watches several workers (gateway/gunicorn_conf.py)."""
    print(text, flush=True)
    os.chdir(REPO)  # gunicorn puts the current folder on the import path
    command = [sys.executable, "-P", "-m", "gunicorn", "-c", "python:gateway.gunicorn_conf", "gateway.asgi:application"]
    os.execv(sys.executable, command)


def stop(_signal: int, _frame: object) -> NoReturn:
    """Leave with status 0. uvicorn delivers the signal here again after it has drained (its default would be -15)."""
    sys.exit(0)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    signal.signal(signal.SIGTERM, stop)
    try:
        settle_environment(options)
        check_port(os.environ["HOST"], int(os.environ["PORT"]))
        if not options.system_python:
            requirements = ["requirements.txt", *(["requirements-demo.txt"] if options.demo else [])]
            enter("scripts.serve", arguments, requirements)

        from scripts.prepare import prepare

        data_dir = Path(os.environ["WOLFGATE_DATA_DIR"])
        model: list[subprocess.Popen[bytes]] = []  # its pipe must stay open as long as this process lives

        def start_model() -> int:
            process, port = start_demo_model(data_dir)
            model.append(process)
            return port

        key = prepare(data_dir, options.config, start_model if options.demo else None)
        text = invitation(key)
        if int(os.environ["WORKERS"]) > 1:
            serve_many(text)
        serve_one(text)
    except SetupError as error:
        say(str(error))
    except KeyboardInterrupt:
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
