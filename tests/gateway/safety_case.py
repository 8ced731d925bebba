"""Requests in Claude Code's auto mode, a safety model, and the verdicts found in answers."""

import json
from typing import Any

import httpx
from asgiref.sync import sync_to_async

from accounts.models import CallRecord
from accounts.verification import differences
from providers.models import Model, Price, Provider
from routing.models import RuntimeSettings
from tests.fakes.transport import Reply, chunk, sse, text_stream
from tests.gateway.case import GatewayCase, body
from tests.translation.grammar import check

SAFEGUARDS = [
    {
        "type": "dangerous_tool_use",
        "classifier_context": {"v": 1, "live_cwd": "/home/dev/work", "rules": {"allow": [], "deny": [], "ask": []}},
    }
]
TOOL = {"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}
UNAVAILABLE = {"type": "unavailable", "reason": "error"}
RUN = {"type": "evaluated", "outcome": "not_flagged"}


def asking(text: str = "clean up", **fields: Any) -> dict[str, Any]:
    return body(text, **{"tools": [TOOL], "safeguards": SAFEGUARDS, **fields})


def calling(*commands: str) -> Reply:
    """Return an answer with text and one call of Bash per command, `toolu_0` and so on."""
    calls = [
        chunk(
            {
                "tool_calls": [
                    {
                        "index": index,
                        "id": f"toolu_{index}",
                        "type": "function",
                        "function": {"name": "Bash", "arguments": json.dumps({"command": command})},
                    }
                ]
            }
        )
        for index, command in enumerate(commands)
    ]
    usage = {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 8}}
    return Reply(sse(chunk({"content": "On it."}), *calls, chunk(finish="tool_calls"), usage))


def verdicts(*outcomes: str) -> Reply:
    """Return the safety model's answer on call "1" and so on."""
    entries = [
        {"id": str(number), "outcome": outcome, "explanation": f"reason {number}"}
        for number, outcome in enumerate(outcomes, 1)
    ]
    return Reply(text_stream(json.dumps({"verdicts": entries})))


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:")]


def results_of(response: httpx.Response) -> Any:
    """Return the safeguard_results of an answer, None if it has none; its form is checked."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        return response.json().get("safeguard_results")
    found = [event for event in events_of(response) if event["type"] != "ping"]
    end = next(event for event in found if event["type"] == "message_delta")
    results = end["delta"].pop("safeguard_results", None)
    check(found)
    return results


def tool_verdicts(response: httpx.Response) -> dict[str, dict[str, str]]:
    (result,) = results_of(response)
    assert result["type"] == "dangerous_tool_use"
    assert result["status"]["type"] == "available"
    verdicts: dict[str, dict[str, str]] = result["status"]["tool_uses"]
    return verdicts


async def books_differ() -> list[Any]:
    return await sync_to_async(lambda: list(differences()))()


class SafetyCase(GatewayCase):
    """The safety model is `up/judge`."""

    def setUp(self) -> None:
        super().setUp()
        self.judge = Model.objects.create(
            provider=Provider.objects.get(name="up"), model_id="judge", capabilities=["thinking"], context_window=50_000
        )
        Price.objects.create(model=self.judge, currency="USD", input_per_million=1, output_per_million=2)
        RuntimeSettings.objects.filter(pk=1).update(safety_model=self.judge)

    async def records(self) -> tuple[CallRecord, CallRecord]:
        """Return the client's call and the safety call."""
        main = await CallRecord.objects.select_related("key").aget(kind__in=("main", "subagent"))
        return main, await CallRecord.objects.select_related("key").aget(kind="safety")
