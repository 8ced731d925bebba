"""One gateway with two targets that are the same model: behind Chat Completions, and behind Anthropic Messages."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.fakes.answers import Answer, Script
from tests.fakes.gateway_process import GatewayProcess, configuration
from tests.fakes.turns import Turn
from tests.fakes.upstream import ScriptedUpstream

OPENAI, ANTHROPIC = "up/main", "nat/claude-sonnet-4-6"
TARGETS = (OPENAI, ANTHROPIC)


@dataclass(frozen=True, slots=True)
class TwoWires:
    """The gateway, and the upstream that is both platforms."""

    gateway: GatewayProcess
    upstream: ScriptedUpstream

    def script(self, *turns: Turn) -> None:
        """Let both targets give the same answers, each in its own words."""
        self.upstream.script("main", *(turn.openai for turn in turns))
        self.upstream.script("claude-sonnet-4-6", *(turn.anthropic for turn in turns))

    def script_each(self, openai: Answer | Script, anthropic: Answer | Script) -> None:
        """Let each target give an answer of its own."""
        self.upstream.script("main", openai)
        self.upstream.script("claude-sonnet-4-6", anthropic)


@contextmanager
def two_wires(models: Sequence[str] = ("main",), **settings: Any) -> Iterator[TwoWires]:
    """Run the gateway with both targets and the other `models` beside the first; `settings` are those of `configuration`."""
    with ScriptedUpstream() as upstream:
        config = configuration(upstream.base_url, models=models, **settings)
        config["providers"][0]["flags"] = {"reasoning_replay": "reasoning_content"}
        native = {**config["providers"][0], "name": "nat", "kind": "anthropic_compatible", "wire_format": "anthropic"}
        native["models"] = [{**native["models"][0], "id": "claude-sonnet-4-6"}]
        native["base_url"] = upstream.base_url.removesuffix("/v1")
        config["providers"].append(native)
        with GatewayProcess(config) as gateway:
            yield TwoWires(gateway, upstream)
