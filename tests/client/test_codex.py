"""The real Codex CLI through a real gateway process to scripted upstreams of both wire formats."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.codex import Codex, client_path
from tests.conftest import require
from tests.fakes.answers import Answer, Received, cut, error, text, tool_calls
from tests.fakes.gateway_process import KEY, GatewayProcess, configuration
from tests.fakes.turns import Turn
from tests.fakes.upstream import ScriptedUpstream

pytestmark = [pytest.mark.codex, pytest.mark.server]

# The client knows this model and offers it all its tools; the gateway takes it to `main`.
KNOWN = "gpt-5.5"
NATIVE = "nat/claude-sonnet-4-6"
PATCH = "*** Begin Patch\n*** Add File: new.txt\n+tea 茶\n*** End Patch"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    require("codex", bool(client_path()), "CODEX_BIN does not name the Codex CLI")
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    config = configuration(upstream.base_url, models=("main",))
    native = {**config["providers"][0], "name": "nat", "kind": "anthropic_compatible", "wire_format": "anthropic"}
    native["models"] = [{**native["models"][0], "id": "claude-sonnet-4-6"}]
    native["base_url"] = upstream.base_url.removesuffix("/v1")
    config["providers"].append(native)
    with GatewayProcess(config) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: GatewayProcess, upstream: ScriptedUpstream, tmp_path: Path) -> Codex:
    upstream.clear()
    return Codex(tmp_path, f"{gateway.base_url}/v1", KEY)


def tool_names(request: Received) -> set[str]:
    return {tool["function"]["name"] for tool in request.body["tools"]}


@pytest.mark.parametrize("model", [KNOWN, NATIVE])
def test_runs_a_command_and_tells_what_it_saw(model: str, client: Codex, upstream: ScriptedUpstream) -> None:
    client.folder.mkdir()
    (client.folder / "note.txt").write_text("tea", encoding="utf-8")
    look = Turn("Looking.", calls=(("call_a", "exec_command", {"cmd": "cat note.txt"}),), finish="tool_calls")
    told = Turn("It says tea.", usage=(30, 20, 4))
    for name, turns in (
        ("main", [look.openai, told.openai]),
        ("claude-sonnet-4-6", [look.anthropic, told.anthropic]),
    ):
        upstream.script(name, *turns)
    outcome = client.ask("What does note.txt say?", model=model)
    assert outcome.text == "It says tea."
    (command,) = outcome.items("command_execution")
    assert (command["exit_code"], command["aggregated_output"]) == (0, "tea")
    assert outcome.exit_status == 0
    usage = outcome.lines[-1]["usage"]
    assert (usage["input_tokens"], usage["cached_input_tokens"], usage["output_tokens"]) == (40, 24, 6)
    first, second = upstream.requests
    assert "What does note.txt say?" in str(first.messages)
    assert "tea" in str(second.messages[-1])


def test_writes_a_file_with_its_free_text_tool(client: Codex, upstream: ScriptedUpstream) -> None:
    upstream.script("main", tool_calls(("call_a", "apply_patch", {"input": PATCH})), text("Written."))
    outcome = client.ask("Write new.txt.", "-s", "workspace-write", model=KNOWN)
    assert outcome.text == "Written."
    assert (client.folder / "new.txt").read_text(encoding="utf-8") == "tea 茶\n"
    assert "Success" in upstream.requests[-1].messages[-1]["content"]


def test_finds_deferred_tools(client: Codex, upstream: ScriptedUpstream) -> None:
    upstream.script("main", tool_calls(("call_a", "tool_search", {"query": "spawn agent"})), text("Found."))
    assert client.ask("Find a tool.", model=KNOWN).text == "Found."
    first, second = upstream.requests
    found = tool_names(second) - tool_names(first)
    assert found
    assert all(name in second.messages[-1]["content"] for name in found)


def test_takes_up_a_session_again(client: Codex, upstream: ScriptedUpstream) -> None:
    upstream.script("main", Turn("One.", reasoning="Counting.").openai, Turn("Two.").openai)
    client.ask("Count.", model=KNOWN)
    assert client.ask("Go on.", "resume", "--last", model=KNOWN).text == "Two."
    roles = [(message["role"], message["content"]) for message in upstream.requests[-1].messages[-2:]]
    assert roles == [("assistant", "One."), ("user", "Go on.")]


FAILURES: list[tuple[Answer, str]] = [
    (cut("Half a sen"), "cut off"),
    (error(500, "boom upstream"), "boom upstream"),
    # Codex has words of its own for this code.
    (error(400, "This model's maximum context length is 8 tokens"), "context window"),
]


@pytest.mark.parametrize(("answer", "words"), FAILURES)
def test_says_what_went_wrong(answer: Answer, words: str, client: Codex, upstream: ScriptedUpstream) -> None:
    upstream.script("main", answer)
    outcome = client.ask("Go.", model=KNOWN)
    last: dict[str, Any] = outcome.lines[-1]
    assert last["type"] == "turn.failed"
    assert words in last["error"]["message"]
    assert outcome.exit_status != 0
