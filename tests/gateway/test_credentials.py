"""Several credentials of one provider: they share the calls, a session keeps its own, and one that fails stands back."""

from typing import Any

import httpx

from accounts.models import CallRecord
from providers.models import Credential, Provider
from routing import health
from routing.models import RuntimeSettings
from tests.fakes.transport import Reply, json_reply, text_stream
from tests.gateway.case import UPSTREAM_SECRET, GatewayCase, body

SECRETS = (UPSTREAM_SECRET, "sk-vendor-second-1", "sk-vendor-third-22")
SESSION = "x-claude-code-session-id"


def used(requests: list[httpx.Request]) -> list[int]:
    """Return the number of the credential of each request."""
    return [SECRETS.index(request.headers["authorization"].removeprefix("Bearer ")) for request in requests]


def refusing(*numbers: int, status: int = 429) -> Any:
    """Return an upstream that refuses these credentials."""

    def reply(request: httpx.Request) -> Reply:
        if used([request])[0] in numbers:
            return json_reply({"error": {"message": "no"}}, status)
        return Reply(text_stream())

    return reply


class CredentialTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        RuntimeSettings.objects.update(cooldown_enabled=True)
        provider = Provider.objects.get(name="up")
        for position, secret in enumerate(SECRETS[1:], 1):
            credential = Credential(provider=provider, name=f"c{position}", position=position)
            credential.set_secret(secret)
            credential.save()

    async def test_calls_of_no_session_take_turns(self) -> None:
        async with self.gateway(lambda _request: Reply(text_stream())) as gateway:
            for _ in range(9):
                await gateway.send()
        numbers = used(gateway.upstream.requests)
        assert sorted(numbers) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert numbers[:3] == numbers[3:6] == numbers[6:]

    async def test_a_session_stays_with_one_and_sessions_are_spread(self) -> None:
        async with self.gateway(lambda _request: Reply(text_stream())) as gateway:
            for number in range(24):
                for _ in range(2):
                    await gateway.send(headers={SESSION: f"session-{number}"})
        numbers = used(gateway.upstream.requests)
        assert numbers[::2] == numbers[1::2]
        assert set(numbers) == {0, 1, 2}

    async def test_one_that_is_refused_is_followed_by_the_next_and_stands_back_from_then_on(self) -> None:
        for status, kind in ((401, "auth"), (402, "insufficient_funds"), (403, "permission"), (429, "rate_limited")):
            health.start_anew()
            async with self.gateway(refusing(0, 1, status=status)) as gateway:
                for _ in range(4):
                    assert (await gateway.send(body(), headers={SESSION: "s"})).status_code == 200
            numbers = used(gateway.upstream.requests)
            assert numbers[-3:] == [2, 2, 2], status
            assert all(sent["model"] == "a" for sent in gateway.upstream.bodies)
            call = await CallRecord.objects.order_by("started_at").alast()
            first = await CallRecord.objects.order_by("-started_at").all()[3:4].aget()
            assert call is not None
            assert [attempt.outcome async for attempt in call.attempts.all()] == ["ok"]
            outcomes = [attempt.outcome async for attempt in first.attempts.all()]
            assert outcomes == [kind] * (len(outcomes) - 1) + ["ok"]

    async def test_credentials_that_stand_back_are_asked_after_all_other_targets(self) -> None:
        def reply(request: httpx.Request) -> Reply:
            is_a = b'"a"' in request.content
            return json_reply({"error": {"message": "no"}}, 429) if is_a else json_reply({"error": "down"}, 500)

        async with self.gateway(reply) as gateway:
            await gateway.send(headers={SESSION: "s"})
            first = [sent["model"] for sent in gateway.upstream.bodies]
            response = await gateway.send(headers={SESSION: "s"})
        again = [sent["model"] for sent in gateway.upstream.bodies][len(first) :]
        assert first == ["a", "a", "a", "b"]  # a 500 is none of the credential's
        # b rests under the credential that was asked; by the next one it is asked before what rests.
        assert again == ["b", "a", "a", "a"]
        assert response.status_code == 502

    async def test_another_credential_of_a_target_that_is_broken_is_not_asked(self) -> None:
        async with self.gateway(json_reply({"error": "down"}, 500), Reply(text_stream())) as gateway:
            assert (await gateway.send()).status_code == 200
        assert [sent["model"] for sent in gateway.upstream.bodies] == ["a", "b"]


class UnreachableTests(GatewayCase):
    async def test_nobody_waits_once_per_model_for_a_platform_that_is_not_there(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"cooldown_enabled": True})
        for streamed in (False, True):
            health.start_anew()
            async with self.gateway(Reply(failure=httpx.ConnectError("refused"))) as gateway:
                response = await gateway.send(body(stream=streamed))
                assert response.status_code == 502
                assert len(gateway.upstream.requests) == 1
                cooling = health.current().cooling()
                assert [(each.key, each.error_kind) for each in cooling] == [(("up", "", ""), "unreachable")]
                await gateway.send(body(stream=streamed))  # the only platform is asked all the same
                assert len(gateway.upstream.requests) == 2
