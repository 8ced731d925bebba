import base64
import struct
import time

import pytest

from providers.translation.tokens import estimate, pdf_tokens, rough_estimate, text_tokens
from tests.translation.conversations import PNG, READ, assistant, image, request_body, result, system, text, use, user

FOX = "The quick brown fox jumps over the lazy dog. " * 100
PROGRAM = (
    "def tokens(self, text: str) -> int:\n    return sum(len(part) for part in text.split()) + self.offset[3]\n" * 20
)


def png(width: int, height: int) -> str:
    return base64.b64encode(
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"
    ).decode()


def jpeg(width: int, height: int) -> str:
    head = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    return base64.b64encode(
        head + b"\xff\xc0\0\x11\x08" + struct.pack(">HH", height, width) + b"\x03\x01\x22\0"
    ).decode()


def webp(width: int, height: int) -> str:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return base64.b64encode(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + size + b"\0\0").decode()


def cost(estimator, *content) -> int:
    """Return what the content adds to a request with a short text."""
    return estimator(request_body(user(text("foo"), *content))) - estimator(request_body(user(text("foo"))))


@pytest.mark.parametrize(
    ("sample", "tokens"),  # o200k_base
    [
        (FOX, 1001),
        (PROGRAM, 580),
        ("今天天气很好，我们一起去公园散步吧。" * 20, 260),
        ("Привет, как у тебя дела сегодня? " * 20, 181),
    ],
)
def test_formula_is_near_a_real_tokenizer(sample, tokens):
    assert text_tokens(sample) == pytest.approx(tokens, rel=0.15)


@pytest.mark.parametrize("estimator", [estimate, rough_estimate])
@pytest.mark.parametrize("sample", [FOX, PROGRAM, "今天天气很好，我们一起去公园散步吧。" * 20])
def test_rough_estimate_is_of_the_same_size(estimator, sample):
    assert cost(estimator, text(sample)) == pytest.approx(text_tokens(sample), rel=0.35)


def test_empty_text_and_empty_request():
    assert text_tokens("") == 0
    assert estimate({}) == rough_estimate({}) == 1


@pytest.mark.parametrize("estimator", [estimate, rough_estimate])
@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        (png(750, 1000), 1000),
        (jpeg(750, 100), 100),
        (webp(375, 200), 100),
        (png(9000, 9000), 1600),
        (PNG, 0),
        ("zzzz" * 900, 1600),
    ],
)
def test_images_cost_by_their_size_not_by_their_base64(estimator, data, tokens):
    assert abs(cost(estimator, image(type="base64", data=data)) - tokens) <= 1


@pytest.mark.parametrize("estimator", [estimate, rough_estimate])
@pytest.mark.parametrize(
    "source",
    [
        None,
        {},
        {"type": "url", "url": "https://e"},
        {"type": "base64", "data": 5},
        {"type": "base64", "data": "\u00e9"},
    ],
)
def test_image_of_unknown_size(estimator, source):
    assert cost(estimator, {"type": "image", "source": source}) == 1600


def test_pdf_costs_by_pages_or_by_size():
    def document(data: bytes) -> dict:
        return {"type": "document", "source": {"type": "base64", "data": base64.b64encode(data).decode()}}

    three_pages = b"%PDF-1.4 /Type /Pages " + b"/Type /Page " * 3
    assert cost(estimate, document(three_pages)) == 6000
    assert cost(estimate, document(b"%PDF-1.5 compressed")) == 2000
    assert cost(rough_estimate, document(b"x" * 1_000_000)) == pytest.approx(20_000, rel=0.01)
    assert cost(rough_estimate, document(b"x" * 15_000_000)) == 200_000


def test_the_share_of_pdf_files_is_told_apart():
    def document(data: bytes) -> dict:
        return {"type": "document", "source": {"type": "base64", "data": base64.b64encode(data).decode()}}

    pages = b"%PDF-1.4" + b"/Type /Page " * 3
    body = request_body(
        user(text(FOX), document(pages)), assistant(use("a")), user(result("a", [document(b"x" * 500_000)]))
    )
    without = request_body(user(text(FOX)), assistant(use("a")), user(result("a", [])))
    assert pdf_tokens(body) == pytest.approx(16_000, rel=0.01)
    assert estimate(body) - estimate(without) == pytest.approx(pdf_tokens(body), abs=3)
    assert pdf_tokens(without) == 0


def test_reasoning_and_the_billing_header_cost_nothing():
    assert (
        cost(
            estimate,
            {"type": "thinking", "thinking": FOX, "signature": FOX},
            {"type": "redacted_thinking", "data": FOX},
        )
        == 0
    )
    header = [text("x-anthropic-billing-header: cc_version=2.1.330.d01; " * 20)]
    assert estimate(request_body(system=header)) - estimate(request_body()) <= 4


@pytest.mark.parametrize("estimator", [estimate, rough_estimate])
def test_tools_cost_their_definition_and_a_prompt(estimator):
    plain, with_tool = estimator(request_body()), estimator(request_body(tools=[READ]))
    assert 370 <= with_tool - plain <= 410


@pytest.mark.parametrize("estimator", [estimate, rough_estimate])
def test_deferred_tools_cost_only_once_they_are_named(estimator):
    deferred = {**READ, "name": "Cron", "description": FOX, "defer_loading": True}
    history = [user("q"), assistant(use("a", "ToolSearch")), user(result("a", "none found"))]
    named = [*history[:2], user(result("a", [{"type": "tool_reference", "tool_name": "Cron"}]))]
    assert estimator(request_body(*history, tools=[READ, deferred])) < 700
    assert estimator(request_body(*named, tools=[READ, deferred])) > 1200


def test_system_messages_results_and_calls_count():
    assert cost(estimate, result("a", FOX)) > 900
    assert cost(estimate, result("a", [text(FOX)])) > 900
    assert cost(estimate, use("a", value={"text": FOX})) > 900
    assert estimate(request_body(user("q"), system(FOX))) > 900
    assert estimate(request_body(user("q"), system=FOX)) > 900


@pytest.mark.parametrize("estimator", [estimate, rough_estimate])
@pytest.mark.parametrize(
    "body",
    [
        {"messages": [None, 5, {"content": [None, {"type": []}, {"type": "tool_use", "name": [], "input": 10**40}]}]},
        {
            "messages": {},
            "tools": [None, {"name": [], "defer_loading": True, "input_schema": 5}],
            "system": [None, {"text": 5}],
        },
        {"messages": [{"content": [{"type": "tool_reference", "tool_name": {}}, {"type": "document", "source": []}]}]},
        {"output_config": {"format": "x"}, "system": 5},
    ],
)
def test_any_body_has_an_estimate(estimator, body):
    assert estimator(body) >= 1


def test_rough_estimate_of_a_large_body_is_fast():
    history = [user("q " * 2000)]
    for number in range(60):
        history += [assistant(use(f"t{number}")), user(result(f"t{number}", "line of output\n" * 130))]
    body = request_body(*history, tools=[{**READ, "name": f"T{n}", "description": "words " * 100} for n in range(12)])
    best = 9.0
    for _ in range(20):
        start = time.perf_counter()
        rough_estimate(body)
        best = min(best, time.perf_counter() - start)
    assert best < 0.001  # a third of that is usual; a walk over characters takes ten times as long
