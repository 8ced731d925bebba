"""The client's own credential goes to the providers that forward it, and the gateway's key to none."""

from typing import Any

import httpx

from accounts.models import Attempt, CallRecord
from gateway.capture import read_stage
from gateway.incoming import credentials, own_credential
from gateway.models import Capture
from providers.models import Credential, Provider
from routing.models import RuntimeSettings
from tests.fakes.transport import Reply, json_reply
from tests.gateway.case import body
from tests.gateway.test_passthrough import ERROR, MESSAGE, STREAM, PassthroughCase

OWN = "sk-ant-api03-own-credential-42"
CREDENTIALS = ("authorization", "x-api-key", "x-gateway-key")


def test_the_gateway_key_has_a_header_of_its_own() -> None:
    both = {"authorization": f"Bearer {OWN}", "x-api-key": "sk-ant-other"}
    assert credentials({**both, "x-gateway-key": "wg_k"}) == ("wg_k",)
    assert credentials({"x-gateway-key": " Bearer wg_k "}) == ("wg_k",)
    assert credentials({**both, "x-gateway-key": " "}) == (OWN, "sk-ant-other")
    assert own_credential({**both, "x-gateway-key": "wg_k"}) == both
    assert own_credential(both) == {}
    assert own_credential({"x-gateway-key": "wg_k", "authorization": "Bearer \u00dc"}) == {}
    assert own_credential({"x-gateway-key": "k-old", "authorization": "Bearer k-old", "x-api-key": "wg_other"}) == {}


class ForwardingTests(PassthroughCase):
    def setUp(self) -> None:
        super().setUp()
        Provider.objects.filter(name="one").update(forwards_client_credential=True)

    async def ask(
        self, headers: dict[str, str], *replies: Reply, **fields: Any
    ) -> tuple[httpx.Response, list[httpx.Request]]:
        async with self.gateway(*(replies or (json_reply(MESSAGE),))) as gateway:
            # Not what the test's client sends by itself.
            del gateway.client.headers["authorization"]
            response = await gateway.send(body(**fields), headers=headers)
        return response, gateway.upstream.requests

    async def test_it_goes_up_as_sent(self) -> None:
        for own in (
            {"authorization": f"Bearer {OWN}"},
            {"x-api-key": OWN},
            {"authorization": f"Bearer {OWN}", "x-api-key": "sk-ant-api03-another-one"},
        ):
            response, (request,) = await self.ask({"x-gateway-key": self.secret, **own})
            assert response.status_code == 200
            assert {name: request.headers[name] for name in CREDENTIALS if name in request.headers} == own
            assert self.secret not in str(request.headers.raw)
        assert {attempt.credential_name async for attempt in Attempt.objects.all()} == {"client's own"}

    async def test_the_token_of_a_subscription_gets_its_beta(self) -> None:
        headers = {"x-gateway-key": self.secret, "authorization": "Bearer sk-ant-oat01-abc", "anthropic-beta": "x-1"}
        _response, (request,) = await self.ask(headers)
        assert request.headers["anthropic-beta"] == "x-1,oauth-2025-04-20"

    async def test_it_never_goes_to_a_provider_without_the_switch(self) -> None:
        headers = {
            "x-gateway-key": self.secret,
            "authorization": f"Bearer {OWN}",
            "anthropic-hidden": f"see {OWN}",
        }
        _response, requests = await self.ask(headers, json_reply(ERROR, 529), json_reply(MESSAGE))
        assert [request.url.host for request in requests] == ["one.test", "two.test"]
        assert requests[1].headers["authorization"] == "Bearer sk-stored-two-0123456789"
        assert OWN not in str(requests[1].headers.raw)

    async def test_without_one_the_stored_credential_is_used_and_without_that_the_target_is_skipped(self) -> None:
        for headers in ({"authorization": f"Bearer {self.secret}"}, {"x-gateway-key": self.secret}):
            _response, (request,) = await self.ask(headers)
            assert request.headers["authorization"] == "Bearer sk-stored-one-0123456789"
        await Credential.objects.filter(provider__name="one").adelete()
        response, (request,) = await self.ask({"x-gateway-key": self.secret})
        assert (response.status_code, request.url.host) == (200, "two.test")
        call = await CallRecord.objects.order_by("-started_at").afirst()
        assert call is not None
        assert call.decision["skipped"] == [
            {
                "target": "one/claude-opus-5-5",
                "reason": "the client sent no credential of its own, and none is stored",
            }
        ]
        await Provider.objects.filter(name="two").aupdate(forwards_client_credential=True)
        await Credential.objects.filter(provider__name="two").adelete()
        response, requests = await self.ask({"x-gateway-key": self.secret})
        assert (response.status_code, requests) == (503, [])
        assert "x-gateway-key" in response.json()["error"]["message"]

    async def test_what_befalls_it_is_for_the_client_to_read(self) -> None:
        await Provider.objects.filter(name="two").aupdate(is_enabled=False)
        headers = {"x-gateway-key": self.secret, "authorization": f"Bearer {OWN}"}
        for streamed in (False, True):
            for status in (401, 403):
                reply = json_reply(ERROR, status, {"request-id": "req_up"})
                response, _requests = await self.ask(headers, reply, stream=streamed)
                assert (response.status_code, response.json()) == (status, ERROR)
                assert response.headers["request-id"] == "req_up"

    async def test_it_cools_no_server_down_for_others(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"cooldown_enabled": True})
        headers = {"x-gateway-key": self.secret, "authorization": f"Bearer {OWN}"}
        async with self.gateway(json_reply(ERROR, 401), json_reply(MESSAGE)) as gateway:
            del gateway.client.headers["authorization"]
            for _ in range(2):
                assert (await gateway.send(headers=headers)).status_code == 200
        assert [request.url.host for request in gateway.upstream.requests] == ["one.test", "two.test", "one.test"]

    async def test_no_gateway_key_leaves_in_any_header_or_query(self) -> None:
        hiding = {
            "anthropic-custom": f"key={self.secret}",
            "x-claude-code-note": self.secret,
            "x-stainless-arch": "x64 wg_someone-elses-key",
            "user-agent": f"claude-cli/2.1 ({self.secret})",
            "x-app": "cli",
            "anthropic-workspace-id": "swg_fine",
        }
        for name in ("authorization", "x-api-key", "x-gateway-key"):
            value = f"Bearer {self.secret}" if name == "authorization" else self.secret
            async with self.gateway(json_reply(MESSAGE)) as gateway:
                del gateway.client.headers["authorization"]
                path = f"/v1/messages?beta=true&key={self.secret}&x=1"
                response = await gateway.send(headers={name: value, **hiding}, path=path)
            assert response.status_code == 200, name
            (request,) = gateway.upstream.requests
            sent = str(request.headers.raw) + str(request.url)
            assert self.secret not in sent
            assert " wg_" not in sent
            assert (request.headers["x-app"], request.headers["anthropic-workspace-id"]) == ("cli", "swg_fine")
            assert str(request.url).endswith("/v1/messages?beta=true&x=1")

    async def test_a_foreign_key_in_the_gateway_header_lets_nobody_in(self) -> None:
        response, requests = await self.ask({"x-gateway-key": OWN, "authorization": f"Bearer {self.secret}"})
        assert (response.status_code, requests) == (401, [])

    async def test_captures_show_no_credential(self) -> None:
        await RuntimeSettings.objects.aupdate_or_create(pk=1, defaults={"capture": "full"})
        headers = {"x-gateway-key": self.secret, "authorization": f"Bearer {OWN}", "x-api-key": "sk-ant-second-own"}
        async with self.gateway(Reply(list(STREAM))) as gateway:
            del gateway.client.headers["authorization"]
            await gateway.send(body(f"my key is {OWN}, or sk-ant-second-own", stream=True), headers=headers)
        kept = await Capture.objects.aget()
        stages = [
            read_stage(bytes(blob))
            for blob in (kept.client_request, kept.upstream_request, kept.upstream_response, kept.client_response)
        ]
        assert "my key is ***, or ***" in stages[0]["body"]
        assert "my key is ***, or ***" in stages[1]["body"]
        assert "speed limit" in stages[3]["body"]
        for secret in (OWN, "sk-ant-second-own", self.secret):
            assert secret not in str(stages)

    async def test_counting_uses_it_too(self) -> None:
        headers = {"x-gateway-key": self.secret, "authorization": f"Bearer {OWN}"}
        async with self.gateway(json_reply({"input_tokens": 9})) as gateway:
            del gateway.client.headers["authorization"]
            response = await gateway.send(path="/v1/messages/count_tokens", headers=headers)
        assert response.json() == {"input_tokens": 9}
        assert gateway.upstream.requests[0].headers["authorization"] == f"Bearer {OWN}"
