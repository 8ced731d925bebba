"""What a request asks of the model that answers it."""

from typing import Any

import pytest

from providers.translation.needs import needs_of
from tests.translation.conversations import READ, assistant, image, request_body, result, system, text, use, user

INSIDE = {"type": "document", "source": {"type": "content", "content": [image()]}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}


@pytest.mark.parametrize(
    ("messages", "needs_vision"),
    [
        ([user("hi")], False),
        ([user(text("look"), image())], True),
        ([user(image(type="url", url="https://e.invalid/a.png"))], True),
        ([user("q"), assistant(use("a")), user(result("a", [text("shot"), image()]))], True),
        ([user("q"), assistant(use("a")), user(result("a", image()))], True),
        ([user(INSIDE)], True),
        ([user(PDF)], False),
        # An image of an earlier turn does not decide who answers this one.
        ([user(image()), assistant("A cat."), user("Thanks. And what is 2 + 2?")], False),
        ([user(image()), assistant(use("a")), user(result("a"))], False),
        # The last turn may be several messages, and the answer to it may have begun.
        ([assistant("hi"), user(image()), system("date"), user("go")], True),
        ([user(image()), assistant("It shows")], True),
    ],
)
def test_images_of_the_last_turn_need_eyes(messages: list[Any], needs_vision: bool) -> None:
    assert needs_of(request_body(*messages)) == ({"vision"} if needs_vision else set())


@pytest.mark.parametrize(("tools", "expected"), [([READ], {"tools"}), ([], set()), (None, set())])
def test_a_request_that_offers_tools_needs_a_model_that_calls_them(tools: Any, expected: set[str]) -> None:
    assert needs_of(request_body(user("hi"), tools=tools)) == expected
