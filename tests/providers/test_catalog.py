"""Model lists and the connection test, with the platforms' own shapes over a scripted transport."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from django.test import TestCase
from django.utils import timezone

from providers import catalog, config_version
from providers.errors import ErrorKind, UpstreamError
from providers.model_lists import NotAList, read_list, read_ollama_model
from providers.models import Credential, Model, Price, Provider

OPENROUTER_ITEM = {
    "id": "qwen/qwen3.7-plus", "canonical_slug": "x", "name": "Qwen: Qwen3.7 Plus", "context_length": 1_000_000,
    "architecture": {"input_modalities": ["text", "image"]},
    "pricing": {"prompt": "0.00000032", "completion": "0.00000128", "input_cache_read": "0.000000064"},
    "top_provider": {"context_length": 900_000, "max_completion_tokens": 65_536},
    "supported_parameters": ["tools", "reasoning", "top_p"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"id": "m", "object": "model", "created": 1, "owned_by": "x"}, (None, None, None)),
        (OPENROUTER_ITEM, (900_000, 65_536, ("tools", "vision", "pdf", "thinking"))),
        ({"id": "m", "max_model_len": 32_768}, (32_768, None, None)),  # vLLM
        ({"id": "m", "meta": {"n_ctx_train": 8192}}, (8192, None, None)),  # llama.cpp
        ({"id": "m", "meta": {"n_ctx_train": 131_072, "n_ctx": 8192}}, (8192, None, None)),
        ({"id": "m", "context_window": 131_072, "max_completion_tokens": 8192}, (131_072, 8192, None)),  # Groq
        ({"id": "m", "context_length": "8192", "max_tokens": True}, (None, None, None)),
        ({"id": "m", "context_length": 2**40}, (None, None, None)),
        (  # Anthropic
            {"type": "model", "id": "m", "max_input_tokens": 200_000, "max_tokens": 64_000, "capabilities": {"image_input": {"supported": True}, "thinking": {"supported": False}}},
            (200_000, 64_000, ("tools", "vision", "pdf")),
        ),
        (  # LM Studio, native v1: the loaded instance counts
            {"type": "llm", "key": "m", "max_context_length": 131_072, "loaded_instances": [{"config": {"context_length": 4096}}], "capabilities": {"vision": False, "trained_for_tool_use": True}},
            (4096, None, ("tools",)),
        ),
        (  # LM Studio, v0
            {"id": "m", "type": "vlm", "state": "not-loaded", "max_context_length": 32_768, "capabilities": ["tool_use"]},
            (32_768, None, ("tools", "vision", "thinking")),
        ),
    ],
)  # fmt: skip
def test_members_of_each_platform_are_read(item: dict[str, Any], expected: tuple[Any, ...]) -> None:
    (model,) = read_list({"data": [item]})
    assert (model.context_window, model.max_output_tokens, model.capabilities) == expected


def test_openrouter_prices_are_per_million() -> None:
    (model,) = read_list({"data": [OPENROUTER_ITEM]})
    assert model.price is not None
    assert (model.price.input, model.price.output, model.price.cache_read) == (
        Decimal("0.32"),
        Decimal("1.28"),
        Decimal("0.064"),
    )
    assert model.price.cache_write is None
    for pricing in (
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "x", "completion": "1"},
        {"prompt": 1, "completion": 1},
        None,
    ):
        (model,) = read_list([{"id": "m", "pricing": pricing}])
        assert model.price is None


@pytest.mark.parametrize(
    ("document", "ids"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}, ["a", "b"]),
        ([{"id": "a"}], ["a"]),  # Together
        ({"models": [{"name": "a:8b", "model": "a:8b"}]}, ["a:8b"]),  # Ollama
        ({"data": ["a", {"id": ""}, {"id": 7}, 5, {"id": "x" * 201}]}, ["a"]),
        (
            {"data": [{"id": "a", "type": "embedding"}, {"id": "b:batch"}, {"id": "~c"}, {"id": "d", "type": "chat"}]},
            ["d"],
        ),
        ({"data": []}, []),
    ],
)
def test_lists_of_every_shape(document: Any, ids: list[str]) -> None:
    assert [model.model_id for model in read_list(document)] == ids


@pytest.mark.parametrize("document", [None, {}, {"error": "Unexpected endpoint"}, {"data": {}}, "text"])
def test_what_is_no_list(document: Any) -> None:
    with pytest.raises(NotAList):
        read_list(document)


def test_models_that_do_not_chat_are_hidden_where_lists_mix_them() -> None:
    ids = ["qwen3.7-max", "qwen3-coder-plus", "qwen3-vl-plus", "kimi-k2.6", "text-embedding-v4", "wan2.5-t2v", "qwen-image-plus",
           "cosyvoice-v2", "paraformer-v2", "qwen3-asr-flash", "qwen3-tts-flash", "gte-rerank-v2", "qwen-mt-plus", "sambert-x"]  # fmt: skip
    shown = read_list([{"id": name} for name in ids], hides_other_kinds=True)
    assert [model.model_id for model in shown] == ids[:4]


@pytest.mark.parametrize(
    ("shown", "allocated", "window", "capabilities"),
    [
        ({"capabilities": ["completion", "tools"], "model_info": {"qwen3.context_length": 40_960}}, None, 40_960, ("tools",)),
        ({"capabilities": ["completion"], "model_info": {"llama.context_length": 131_072}}, 4096, 4096, ()),
        ({"parameters": "stop \"x\"\nnum_ctx                        16384", "model_info": {"a.context_length": 1}}, 4096, 16_384, None),
        ({}, None, None, None),
    ],
)  # fmt: skip
def test_ollama_window_is_the_smallest_known(
    shown: Any, allocated: int | None, window: int | None, capabilities: Any
) -> None:
    model = read_ollama_model("m", shown, allocated)
    assert model is not None
    assert (model.context_window, model.capabilities) == (window, capabilities)


def test_ollama_embedding_model_is_left_out() -> None:
    assert read_ollama_model("m", {"capabilities": ["embedding"]}, None) is None


Answers = dict[str, Any]


def platform(answers: Answers, asked: list[httpx.Request] | None = None) -> httpx.MockTransport:
    """Answer by path: JSON with 200, or (status, JSON or bytes), or what a function makes of the request."""

    def handle(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        answer = answers.get(request.url.path, (404, {"error": {"message": "no such path"}}))
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return httpx.Response(status, content=body) if isinstance(body, bytes) else httpx.Response(status, json=body)

    return httpx.MockTransport(handle)


def listing(*ids: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name} for name in ids]}


class CatalogTestCase(TestCase):
    def make(self, kind: str = "openai_compatible", secret: str = "sk-0123456789ab", **values: Any) -> Provider:
        values.setdefault("base_url", "" if kind != "openai_compatible" else "https://up.example/v1")
        provider = Provider.objects.create(name="main", kind=kind, **values)
        if secret:
            credential = Credential(provider=provider)
            credential.set_secret(secret)
            credential.save()
        return provider


class RefreshModels(CatalogTestCase):
    def test_models_are_added_updated_and_marked_missing_never_deleted(self) -> None:
        provider = self.make()
        Model.objects.create(provider=provider, model_id="kept", context_window=5, max_output_tokens=7)
        Model.objects.create(provider=provider, model_id="gone")
        Model.objects.create(provider=provider, model_id="back", missing_since=timezone.now())
        Model.objects.create(provider=provider, model_id="manual", is_manual=True, context_window=1)
        Model.objects.create(provider=provider, model_id="manual-gone", is_manual=True)
        before = config_version.current()
        document = {
            "data": [
                {"id": "kept", "max_model_len": 9},
                {"id": "back"},
                {"id": "new"},
                {"id": "manual", "max_model_len": 9},
            ]
        }
        result = catalog.refresh_models(provider, transport=platform({"/v1/models": document}))
        self.assertEqual(result, catalog.RefreshResult(added=1, updated=2, missing=1))
        rows = {row.model_id: row for row in Model.objects.all()}
        self.assertEqual((rows["kept"].context_window, rows["kept"].max_output_tokens), (9, 7))
        self.assertIsNotNone(rows["gone"].missing_since)
        self.assertIsNone(rows["back"].missing_since)
        self.assertEqual(rows["manual"].context_window, 1)
        self.assertIsNone(rows["manual-gone"].missing_since)
        self.assertGreater(config_version.current(), before)

    def test_a_second_refresh_changes_nothing(self) -> None:
        provider = self.make()
        transport = platform({"/v1/models": listing("a", "b")})
        catalog.refresh_models(provider, transport=transport)
        before = config_version.current()
        self.assertEqual(catalog.refresh_models(provider, transport=transport), catalog.RefreshResult(0, 0, 0))
        self.assertEqual(config_version.current(), before)

    def test_a_failed_or_empty_list_changes_no_row(self) -> None:
        provider = self.make()
        row = Model.objects.create(provider=provider, model_id="a")
        for answer in (
            (500, {"error": "x"}),
            (200, b"<html>"),
            listing(),
            httpx.ConnectError("refused"),
            {"error": "no"},
        ):
            with self.assertRaises(UpstreamError):
                catalog.refresh_models(provider, transport=platform({"/v1/models": answer}))
        row.refresh_from_db()
        self.assertIsNone(row.missing_since)

    def test_prices_of_the_list_are_appended_only_when_they_differ(self) -> None:
        provider = self.make("openrouter")
        item = dict(OPENROUTER_ITEM)
        transport = platform({"/api/v1/models": lambda _request: {"data": [item]}})
        for _ in range(2):
            catalog.refresh_models(provider, transport=transport)
        self.assertEqual(Price.objects.count(), 1)
        item["pricing"] = {"prompt": "0.000001", "completion": "0.000002"}
        catalog.refresh_models(provider, transport=transport)
        self.assertEqual(list(Price.objects.order_by("pk").values_list("input_per_million", "source")),
                         [(Decimal("0.32"), "bundled"), (Decimal(1), "bundled")])  # fmt: skip
        Price.objects.create(
            model=Model.objects.get(), currency="USD", input_per_million=9, output_per_million=9, source="admin"
        )
        item["pricing"] = {"prompt": "0.000003", "completion": "0.000002"}
        catalog.refresh_models(provider, transport=transport)
        self.assertEqual(Price.objects.count(), 3)

    def test_base_url_with_and_without_version_asks_the_same_path(self) -> None:
        provider = self.make()
        for base in ("https://up.example", "https://up.example/v1/", "https://up.example/v1/chat/completions"):
            provider.base_url = base
            asked: list[httpx.Request] = []
            catalog.refresh_models(provider, transport=platform({"/v1/models": listing("a")}, asked))
            self.assertEqual(asked[0].headers["authorization"], "Bearer sk-0123456789ab")

    def test_ollama_asks_each_model_what_it_can(self) -> None:
        provider = self.make("ollama", secret="")
        shown = {
            "q": {"capabilities": ["completion", "tools"], "model_info": {"q.context_length": 40_960}},
            "e": {"capabilities": ["embedding"]},
        }
        answers: Answers = {
            "/api/tags": {"models": [{"name": "q", "model": "q"}, {"name": "e", "model": "e"}]},
            "/api/ps": {"models": [{"model": "q", "context_length": 8192}]},
            "/api/show": lambda request: shown[json.loads(request.content)["model"]],
        }
        catalog.refresh_models(provider, transport=platform(answers))
        row = Model.objects.get()
        self.assertEqual((row.model_id, row.context_window, row.capabilities), ("q", 8192, ["tools"]))

    def test_lm_studio_is_asked_in_its_own_ways_first(self) -> None:
        unexpected = {"error": "Unexpected endpoint or method. Returning 200 anyway"}
        for answers, expected in (
            ({"/api/v1/models": {"models": [{"type": "llm", "key": "native"}]}}, "native"),
            (
                {
                    "/api/v1/models": unexpected,
                    "/api/v0/models": {"data": [{"id": "older", "type": "llm", "state": "loaded"}]},
                },
                "older",
            ),
            ({"/v1/models": listing("oldest")}, "oldest"),
        ):
            Provider.objects.all().delete()
            catalog.refresh_models(self.make("lmstudio", secret=""), transport=platform(answers))
            self.assertEqual(Model.objects.get().model_id, expected)

    def test_anthropic_list(self) -> None:
        provider = self.make("anthropic_compatible", secret="sk-ant-api03-x")
        asked: list[httpx.Request] = []
        item = {"type": "model", "id": "claude-opus-5", "display_name": "Claude Opus 5", "max_input_tokens": 1_000_000}
        catalog.refresh_models(provider, transport=platform({"/v1/models": {"data": [item], "has_more": False}}, asked))
        self.assertEqual(Model.objects.get().display_name, "Claude Opus 5")
        self.assertEqual(asked[0].headers["x-api-key"], "sk-ant-api03-x")
        self.assertEqual(asked[0].headers["anthropic-version"], "2023-06-01")

    def test_private_address_needs_permission(self) -> None:
        provider = self.make(base_url="http://10.0.0.1/v1")
        transport = platform({"/v1/models": listing("a")})
        with self.assertRaises(UpstreamError) as caught:
            catalog.refresh_models(provider, transport=transport)
        self.assertEqual(caught.exception.kind, ErrorKind.UNREACHABLE)
        provider.allow_private_network = True
        self.assertEqual(catalog.refresh_models(provider, transport=transport).added, 1)


class TestConnection(CatalogTestCase):
    def check(self, answers: Answers, kind: str = "openai_compatible", **values: Any) -> catalog.CheckResult:
        Provider.objects.all().delete()
        chat_model = values.pop("chat_model", "")
        provider = self.make(kind, **values)
        result = catalog.test_connection(provider, chat_model=chat_model, transport=platform(answers))
        provider.refresh_from_db()
        self.assertIsNotNone(provider.checked_at)
        self.assertEqual(provider.check_result, result.message[:300])
        self.assertGreaterEqual(result.latency_ms, 0)
        return result

    def flags(self, result: catalog.CheckResult) -> tuple[bool, bool, int | None]:
        return result.reachable, result.authenticated, result.model_count

    def test_a_good_provider(self) -> None:
        result = self.check({"/v1/models": listing("a", "b")})
        self.assertEqual((*self.flags(result), result.chat_ok), (True, True, 2, None))

    def test_what_fails_is_told_apart(self) -> None:
        for answer, expected in (
            (httpx.ConnectError("refused"), (False, False, None)),
            (httpx.ReadTimeout("slow"), (False, False, None)),
            ((401, {"error": {"message": "bad key sk-0123456789ab"}}), (True, False, None)),
            ((200, b"<html><title>Welcome</title></html>"), (True, True, None)),
        ):
            answers = {"/v1/models": answer, "/v1/chat/completions": (400, {"error": {"message": "messages is empty"}})}
            result = self.check(answers)
            self.assertEqual(self.flags(result), expected)
            self.assertTrue(result.message)
            self.assertNotIn("0123456789ab", result.message)

    def test_without_a_list_a_refused_request_proves_the_key(self) -> None:
        for status, message, authenticated in (
            (400, "messages is empty", True),
            (404, "model none not found", True),
            (401, "bad key", False),
            (403, "invalid api-key", False),
        ):
            result = self.check({"/v1/chat/completions": (status, {"error": {"message": message}})})
            self.assertEqual(result.authenticated, authenticated, message)

    def test_relay_without_list_and_count(self) -> None:
        answers: Answers = {
            "/v1/messages": (
                400,
                {"type": "error", "error": {"type": "invalid_request_error", "message": "messages: too short"}},
            )
        }
        result = self.check(answers, "anthropic_compatible", base_url="https://relay.example")
        self.assertEqual(self.flags(result), (True, True, None))
        answers["/v1/messages"] = (401, {"error": {"message": "no"}})
        self.assertFalse(self.check(answers, "anthropic_compatible", base_url="https://relay.example").authenticated)

    def test_openrouters_public_list_proves_nothing(self) -> None:
        answers: Answers = {
            "/api/v1/models": listing("a"),
            "/api/v1/key": (401, {"error": {"message": "No auth", "code": 401}}),
        }
        self.assertEqual(self.flags(self.check(answers, "openrouter")), (True, False, None))
        answers["/api/v1/key"] = {"data": {"limit_remaining": 7.5}}
        result = self.check(answers, "openrouter")
        self.assertEqual(self.flags(result), (True, True, 1))
        self.assertIn("7.5", result.message)

    def test_siliconflow_shows_the_balance(self) -> None:
        answers = {"/v1/user/info": {"code": 20000, "data": {"totalBalance": "88.88"}}, "/v1/models": listing("a")}
        self.assertIn("88.88", self.check(answers, "siliconflow").message)

    def test_deepseek_shows_the_balance(self) -> None:
        balance = {"is_available": True, "balance_infos": [{"currency": "CNY", "total_balance": "1.50"}]}
        answers = {"/user/balance": balance, "/v1/models": listing("a"), "/models": listing("a")}
        self.assertIn("1.50 CNY", self.check(answers, base_url="https://api.deepseek.com").message)

    def test_chat_is_tried_only_when_asked_for(self) -> None:
        answers: Answers = {
            "/v1/models": listing("a"),
            "/v1/chat/completions": {"choices": [{"message": {"content": "OK"}}]},
        }
        self.assertTrue(self.check(answers, chat_model="a").chat_ok)
        answers["/v1/chat/completions"] = (500, {"error": "boom"})
        result = self.check(answers, chat_model="a")
        self.assertEqual((result.chat_ok, result.authenticated), (False, True))
        self.assertIn("boom", result.message)
