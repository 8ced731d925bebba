"""The calls of an office on a working day: what Claude Code would send for people who chat, write and program.

The requests have the make-up of recorded ones (tests/fixtures/claude_code); the words come from benchmarks/data, code
and answers are filler of realistic length. Deterministic by seed; nothing is sent anywhere.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from providers.translation import tokens
from tests.fakes.recorded import recorded

DATA = Path(__file__).parent / "data"
LANGUAGES = ("en", "zh")
# The first prompts of each scene and language are its examples; the day is made of the others.
EXAMPLES = 5
APPROVALS = {
    "en": ("yes", "go ahead", "ok, do it", "looks good, continue", "yes please"),
    "zh": ("继续", "好的", "可以，开始吧", "没问题，继续", "是的"),
}
SUBTASK = {
    "en": "Look through the repository for everything that concerns the following task and report the files: {}",
    "zh": "在仓库里查找与下面任务有关的所有内容，并列出相关文件：{}",
}
# Per scene: how often a session begins with it, how many tool calls a prompt leads to, the tokens of the last answer.
HABITS: dict[str, tuple[float, tuple[int, int], tuple[int, int]]] = {
    "chat": (0.25, (0, 0), (40, 300)),
    "docs": (0.2, (0, 4), (300, 1200)),
    "code": (0.35, (2, 12), (200, 800)),
    "refactor": (0.2, (6, 30), (300, 1200)),
}
STAYS = 0.75  # the share of prompts that stay with the work of the one before
COMPACTS_ABOVE = 100_000  # tokens of the prompt
LOOP_ENDS_ABOVE = 120_000
_LINES = (
    "def settle(order: Order, now: datetime) -> Receipt:",
    '    """Return the receipt of an order that was paid."""',
    "    if order.total_cents < 0:",
    "        raise ValueError(f'negative total: {order.pk}')",
    "    for line in order.lines.select_related('product'):  # 每一行都要检查库存",
    "        ledger.append(Entry(line.product.sku, line.quantity, now))",
    "    return Receipt(order.pk, sum(entry.cents for entry in ledger), '已结清')",
    "export const useOrders = (id: string) => useQuery(['orders', id], () => fetchOrders(id));",
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and what is true of it whatever routing makes of it."""

    at: datetime
    headers: dict[str, str]
    body: dict[str, Any]
    prompt_tokens: int
    output_tokens: int
    user_id: int
    session_id: str
    agent_id: str
    scene: str  # that its words belong to; "" where nobody could say, or no words are asked
    is_conversation: bool  # it shares its beginning with the one before of the same agent
    is_rewritten: bool  # but not this time: the history was compacted


@dataclass(frozen=True, slots=True)
class Day:
    """How many people do how much."""

    seed: int = 1
    people: int = 8
    sessions: int = 4  # of each person
    prompts: tuple[int, int] = (2, 7)  # of each session


def prompts(language: str) -> dict[str, list[str]]:
    """Return the prompts in `language` by scene."""
    found: dict[str, list[str]] = json.loads((DATA / f"prompts_{language}.json").read_text(encoding="utf-8"))
    return found


def calls_of(day: Day) -> Iterator[Call]:
    """Yield the calls of a day, session by session."""
    words = {language: prompts(language) for language in LANGUAGES}
    for person in range(day.people):
        for number in range(day.sessions):
            chance = random.Random(f"{day.seed} {person} {number}")
            language = LANGUAGES[person % len(LANGUAGES)]
            begin = datetime.fromisoformat("2026-11-23T09:00:00+00:00") + timedelta(
                minutes=number * 480 / day.sessions + chance.uniform(0, 30)
            )
            session = _Session(chance, words[language], language, person, f"{day.seed}-{person}-{number}", begin)
            yield from session.calls(chance.randint(*day.prompts))


@dataclass(slots=True)
class _Session:
    chance: random.Random
    words: dict[str, list[str]]
    language: str
    user_id: int
    session_id: str
    now: datetime
    messages: list[dict[str, Any]] = field(default_factory=list)
    tool_calls: int = 0
    is_rewritten: bool = False

    def calls(self, prompt_count: int) -> Iterator[Call]:
        scene = ""
        if self.chance.random() < 0.1:
            yield self._side("side_model_switch_probe", "Hi", 1)
        for number in range(prompt_count):
            if number and scene in ("code", "refactor") and self.chance.random() < 0.25:
                text = self.chance.choice(APPROVALS[self.language])
            else:
                if not scene or self.chance.random() > STAYS:
                    scene = self.chance.choices(list(HABITS), [habit[0] for habit in HABITS.values()])[0]
                text = self.chance.choice(self.words[scene][EXAMPLES:])
                if scene in ("code", "refactor") and self.chance.random() < 0.15:
                    text = f"{text}\n\n```\n{self._code(self.chance.randint(400, 3000))}\n```"
            if not number:
                yield self._side("side_title", f"<session>\n{text}\n</session>", 15)
                self._begin(text)
            else:
                self.now += timedelta(seconds=self.chance.uniform(20, 900))
                if self._tokens() > COMPACTS_ABOVE:
                    yield from self._compact()
                self.messages.append({"role": "user", "content": self._told(text)})
            yield from self._work(scene, text)

    def _work(self, scene: str, text: str) -> Iterator[Call]:
        """Yield the calls that a prompt leads to: it, and one for each of the tools' results."""
        _share, steps, answer = HABITS[scene]
        if scene in ("code", "refactor") and self.chance.random() < 0.12:
            yield self._call(scene, self.chance.randint(80, 200))
            yield from self._subagent(text)
            self._answer_with_tool("Agent", self._prose(1500))
        for _step in range(self.chance.randint(*steps)):
            if self._tokens() > LOOP_ENDS_ABOVE:
                break
            written = self.chance.choice((60, 90, 120, 250, 600))
            yield self._call(scene, written)
            name = self.chance.choice(("Read", "Bash", "Grep", "Edit"))
            self._answer_with_tool(name, self._code(self.chance.choice((200, 900, 2500, 6000, 12_000))), written)
        written = self.chance.randint(*answer)
        yield self._call(scene, written)
        self.messages.append({"role": "assistant", "content": [{"type": "text", "text": self._prose(written * 3)}]})

    def _call(self, scene: str, output_tokens: int) -> Call:
        # Each call gets a list of its own: the session's goes on growing.
        body = {**_template("main_interactive_tool_result"), "messages": _marked(self.messages)}
        self.now += timedelta(seconds=self.chance.uniform(3, 25))
        call = self._made("main_interactive_tool_result", body, output_tokens, scene, is_conversation=True)
        self.is_rewritten = False
        return call

    def _subagent(self, text: str) -> Iterator[Call]:
        """Yield the calls of an agent that looks around for the main one."""
        agent_id = f"agent-{self.chance.randrange(10**9)}"
        template = _template("subagent_general")
        first, second = template["messages"][0]["content"][0], template["messages"][1]
        words = {"type": "text", "text": SUBTASK[self.language].format(text)}
        messages: list[dict[str, Any]] = [{"role": "user", "content": [first, words]}, second]
        for step in range(self.chance.randint(2, 8)):
            if step:
                messages += self._tool("Grep", self._code(self.chance.choice((400, 2000, 6000))))
            self.now += timedelta(seconds=self.chance.uniform(3, 15))
            body = {**template, "messages": _marked(messages)}
            yield self._made("subagent_general", body, 120, "", is_conversation=True, agent_id=agent_id)

    def _compact(self) -> Iterator[Call]:
        instructions = _template("side_compaction")["messages"][-1]["content"][-1]
        body = {
            **_template("main_interactive_tool_result"),
            "messages": [*_marked(self.messages), {"role": "user", "content": [instructions]}],
        }
        yield self._made("side_compaction", body, 1500, "", is_conversation=True)
        summary, system = _template("main_after_compaction")["messages"][:2]
        told = summary["content"] + self._prose(4500)
        self.messages = [{"role": "user", "content": told}, system, self.messages[-1]]
        self.is_rewritten = True

    def _side(self, kind: str, text: str, output_tokens: int) -> Call:
        template = _template(kind)
        blocks = template["messages"][0]["content"]
        tail = blocks[0]["text"].partition("</session>")[2]
        body = {**template, "messages": [{"role": "user", "content": [{**blocks[0], "text": text + tail}]}]}
        return self._made(kind, body, output_tokens, "", is_conversation=False)

    def _made(
        self,
        kind: str,
        body: dict[str, Any],
        output_tokens: int,
        scene: str,
        *,
        is_conversation: bool,
        agent_id: str = "",
    ) -> Call:
        headers = {name.lower(): value for name, value in recorded()[kind].own_headers.items()}
        headers["x-claude-code-session-id"] = self.session_id
        if agent_id:
            headers["x-claude-code-agent-id"] = agent_id
        return Call(
            at=self.now,
            headers=headers,
            body=body,
            prompt_tokens=tokens.rough_estimate(body),
            output_tokens=output_tokens,
            user_id=self.user_id,
            session_id=self.session_id,
            agent_id=agent_id,
            scene=scene,
            is_conversation=is_conversation,
            is_rewritten=self.is_rewritten,
        )

    def _begin(self, text: str) -> None:
        template = _template("main_interactive_tool_result")["messages"]
        reminder = template[0]["content"][0]
        self.messages = [{"role": "user", "content": [reminder, {"type": "text", "text": text}]}, template[1]]

    def _told(self, text: str) -> str | list[dict[str, Any]]:
        """Return a later prompt as clients send it: bare, or beside a reminder."""
        if self.chance.random() < 0.5:
            return text
        reminder = f"<system-reminder>\n{self._prose(400)}\n</system-reminder>"
        return [{"type": "text", "text": reminder}, {"type": "text", "text": text}]

    def _answer_with_tool(self, name: str, result: str, written: int = 100) -> None:
        self.messages += self._tool(name, result, written)

    def _tool(self, name: str, result: str, written: int = 100) -> list[dict[str, Any]]:
        self.tool_calls += 1
        use_id = f"toolu_{self.tool_calls:04}"
        use = {"type": "tool_use", "id": use_id, "name": name, "input": {"command": self._code(written * 3)}}
        back = {"type": "tool_result", "tool_use_id": use_id, "content": result, "is_error": False}
        return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [back]}]

    def _tokens(self) -> int:
        return tokens.rough_estimate({"messages": self.messages})

    def _code(self, characters: int) -> str:
        lines, length = [], 0
        while length < characters:
            lines.append(self.chance.choice(_LINES))
            length += len(lines[-1]) + 1
        return "\n".join(lines)

    def _prose(self, characters: int) -> str:
        sentence = {"en": "The order is settled as soon as it is paid. ", "zh": "订单付款之后立即结清，并且记入账本。"}
        text = sentence[self.language]
        return text * (characters // len(text) + 1)


def _marked(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `messages` with the mark that clients put at the end of what an upstream may cache."""
    last = messages[-1]
    content = last["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    marked = {**blocks[-1], "cache_control": {"type": "ephemeral"}}
    return [*messages[:-1], {**last, "content": [*blocks[:-1], marked]}]


def _template(kind: str) -> dict[str, Any]:
    body: dict[str, Any] = recorded()[kind].body
    return body
