"""Scripted small models that classify, and a policy that asks them."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from providers.errors import ErrorKind, UpstreamError
from routing.intent.classifier import Classifier, Result
from routing.snapshot import PolicySnapshot, RouteSnapshot, SceneSnapshot

ROUTE = RouteSnapshot("everyday", ("main/big",))
CHAT = SceneSnapshot("chat", "Small talk and simple questions", (), ROUTE, is_default=True)
CODE = SceneSnapshot("code", "Writing and changing code", (), ROUTE)
DOCS = SceneSnapshot("docs", "Writing documents and letters", (), ROUTE)
POLICY = PolicySnapshot(
    1, "smart", "smart", None, "", None, (CHAT, CODE, DOCS), classifier_names=("s/a",), classifier_timeout_ms=60_000
)
TWO = replace(POLICY, classifier_names=("s/a", "s/b"))
HASTY = replace(POLICY, classifier_timeout_ms=100)


def down(kind: ErrorKind = ErrorKind.UNREACHABLE) -> UpstreamError:
    return UpstreamError(kind, "gone")


@dataclass
class Models:
    """Scripted models: each call takes the next answer, the last one for good. A scene's name becomes its label.

    An exception is raised, an event waited for, None is silence.
    """

    script: list[Any]
    asked: list[str] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, body: dict[str, Any], names: Sequence[str], timeout_s: float) -> str:
        answer = self.script[min(len(self.asked), len(self.script) - 1)]
        self.asked += names
        self.limits.append(timeout_s)
        self.bodies.append(body)
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            answer = "code"
        if answer is None:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if isinstance(answer, BaseException):
            raise answer
        labels = {name: label for label, name in re.findall(r'^(\w+) = "(\w+)":', body["system"], re.MULTILINE)}
        return f'{{"label":"{labels[answer]}"}}' if answer in labels else str(answer)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def classified(
    *script: Any, policy: PolicySnapshot = POLICY, text: str = "sort this list", memory: Classifier | None = None
) -> tuple[Result, list[str]]:
    models = Models(list(script))
    result = asyncio.run((memory or Classifier()).classify(text, policy, models))
    return result, models.asked
