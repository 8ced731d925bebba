"""Files on their way through the whole gateway: who is asked, what goes upstream, what the books say."""

import base64
from typing import Any

from accounts.models import CallRecord
from gateway import token_count
from providers.models import Model, Provider
from tests.fakes.pdfs import text_pdf
from tests.fakes.transport import Reply, text_stream
from tests.gateway.case import GatewayCase, body
from tests.gateway.test_pipeline import error
from tests.gateway.test_recorded_requests import native_reply
from tests.translation.conversations import PNG, assistant, image, result, text, use, user

PDF = {
    "type": "document",
    "source": {
        "type": "base64",
        "media_type": "application/pdf",
        "data": base64.b64encode(text_pdf("Revenue rose", "Costs fell")).decode(),
    },
}
EXTRACT = '<document pages="2">\n[page 1]\nRevenue rose\n[page 2]\nCosts fell\n</document>'
READING = [
    user("Read both"),
    assistant(use("toolu_1"), use("toolu_2")),
    user(result("toolu_1", [text("PDF file read: q3.pdf"), PDF]), result("toolu_2", [image()])),
]


class DocumentTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        Model.objects.filter(model_id="a").update(capabilities=["tools"])

    async def test_a_file_is_read_for_the_model_and_an_image_goes_to_one_that_sees(self) -> None:
        later = [*READING, assistant("Both are fine."), user("Thanks. What is 2 + 2?")]
        async with self.gateway(Reply(text_stream())) as gateway:
            assert (await gateway.send(request(READING))).status_code == 200
            first = gateway.sent()
            assert (await gateway.send(request(later))).status_code == 200
            second = gateway.sent()
        assert first["model"] == "b"
        assert tool_text(first, 0) == f"PDF file read: q3.pdf\n{EXTRACT}"
        assert tool_text(first, 1) == "[image 1 attached below]"
        assert first["messages"][-1]["content"][-1]["image_url"]["url"] == f"data:image/png;base64,{PNG}"
        # The image is history: the first target of the route is good enough, and is told that it sees nothing.
        assert second["model"] == "a"
        assert tool_text(second, 0) == tool_text(first, 0)
        assert tool_text(second, 1) == "[image omitted: model has no vision]"
        calls = [call async for call in CallRecord.objects.order_by("started_at")]
        assert calls[0].decision["candidates"] == ["up/b", "up/a"]
        assert calls[0].decision["last_resort"] == [{"target": "up/a", "reason": "has no vision"}]
        assert calls[0].dropped_fields == ["block:document:layout"]
        assert "last_resort" not in calls[1].decision
        assert sorted(calls[1].dropped_fields) == ["block:document:layout", "block:image"]

    async def test_the_model_that_sees_nothing_is_the_last_resort(self) -> None:
        async with self.gateway(error("down", 503), Reply(text_stream())) as gateway:
            assert (await gateway.send(request(READING))).status_code == 200
            asked = gateway.upstream.bodies
        assert [sent["model"] for sent in asked] == ["b", "a"]
        assert tool_text(asked[0], 0) == tool_text(asked[1], 0)
        assert tool_text(asked[1], 1) == "[image omitted: model has no vision]"

    async def test_the_token_estimate_learns_nothing_from_calls_with_files(self) -> None:
        token_count._calibrated_at.clear()
        async with self.gateway(Reply(text_stream())) as gateway:
            await gateway.send(request(READING))
            assert not token_count._calibrated_at
            await gateway.send(request([user("only text")]))
            assert list(token_count._calibrated_at) == ["up/a"]

    async def test_a_pdf_whose_text_fits_is_not_refused_for_the_size_of_its_pages(self) -> None:
        # Three pages count 6,000 tokens where a model sees them, over twice this window, and half of that elsewhere.
        data = base64.b64encode(text_pdf(*(f"Chapter {number}" for number in range(3)))).decode()
        book = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}
        models = Model.objects.filter(provider__name="up")
        await models.aupdate(context_window=2900)
        async with self.gateway(Reply(text_stream())) as gateway:
            assert (await gateway.send(request([user(book)]))).status_code == 200
            assert "Chapter 2" in gateway.sent()["messages"][0]["content"]
        await models.aupdate(capabilities=["tools", "pdf"])
        async with self.gateway(Reply(text_stream())) as gateway:
            response = await gateway.send(request([user(book)]))
        assert response.status_code == 400
        assert "prompt is too long" in response.json()["error"]["message"]

    async def test_a_messages_endpoint_of_another_vendor_is_told_what_it_takes_no_file_of(self) -> None:
        await Provider.objects.filter(name="nat").aupdate(kind="dashscope", wire_format="anthropic")
        await Model.objects.filter(model_id="n").aupdate(capabilities=["tools", "thinking"], context_window=2900)
        later = [*READING, assistant("Both are fine."), user("Thanks.")]
        async with self.gateway(native_reply) as gateway:
            for messages in (READING, later):
                response = await gateway.send(body(model="native", messages=messages, stream=True))
                assert (response.status_code, response.text.count("Yes.")) == (200, 1)
            first, second = (gateway.sent(number)["messages"] for number in (0, 1))
        results = [block["content"] for block in first[-1]["content"]]
        assert results == [
            [text("PDF file read: q3.pdf"), text(EXTRACT)],
            [text("[image omitted: model has no vision]")],
        ]
        assert second[: len(first)] == first
        assert [sorted(call.dropped_fields) async for call in CallRecord.objects.all()] == [
            ["block:document:layout", "block:image"]
        ] * 2

    async def test_a_broken_file_fails_no_call(self) -> None:
        broken = {"type": "document", "title": "q3.pdf", "source": {**PDF["source"], "data": "JVBERi0xLjQK"}}  # type: ignore[dict-item]
        async with self.gateway(Reply(text_stream())) as gateway:
            assert (await gateway.send(request([user(broken)]))).status_code == 200
            content = gateway.sent()["messages"][0]["content"]
        assert content == (
            "[document omitted: q3.pdf, 1 KB; this model cannot read PDF files, and its text could not be extracted:"
            " it is damaged]"
        )


def request(messages: list[Any]) -> dict[str, Any]:
    return body(messages=messages)


def tool_text(sent: dict[str, Any], number: int) -> Any:
    """Return the content of the n-th tool message."""
    return [message["content"] for message in sent["messages"] if message["role"] == "tool"][number]
