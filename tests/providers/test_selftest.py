"""The self-test against scripted platforms, good and bad, in both wire formats."""

import json
from typing import Any

from django.test import TestCase

from providers.models import Credential, Model, Price, Provider
from providers.selftest import Card, Options, found_values, is_usable, run_selftest
from providers.selftest.cases import CASES
from tests.fakes.platform import GOOD, Platform, Says, refusal
from tests.fakes.transport import Reply

SECRET = "sk-vendor-0123456789"
HTML = Reply(
    [b"<html><head><title>Sign in</title></head><body>hello</body></html>"], headers={"content-type": "text/html"}
)
WIRES = {"openai": "openai_compatible", "anthropic": "anthropic_compatible"}


class SelftestCase(TestCase):
    def model(self, wire_format: str = "openai", **fields: Any) -> Model:
        """Return a new model of a new provider of this wire format, with a credential."""
        provider = Provider.objects.create(
            name=f"main{Provider.objects.count()}",
            kind=fields.pop("kind", WIRES[wire_format]),
            wire_format=wire_format,
            base_url="https://up.example",
            flags=fields.pop("provider_flags", {}),
        )
        credential = Credential(provider=provider)
        credential.set_secret(SECRET)
        credential.save()
        return Model.objects.create(provider=provider, model_id="big", **fields)

    def check(self, model: Model, platform: Platform, **options: Any) -> Card:
        """Return the card of `model` at `platform`, which is also set on the model."""
        (card,) = run_selftest([model], Options(transport=platform.transport(), **options))
        json.dumps(card)
        model.compatibility = card
        return card

    def assert_codes(self, card: Card, **codes: str) -> None:
        found = {row["name"]: row["code"] for row in card["rows"]}
        self.assertEqual({name: found[name] for name in codes}, codes)


def status(card: Card) -> dict[str, str]:
    return {row["name"]: row["status"] for row in card["rows"]}


def row(card: Card, name: str) -> dict[str, Any]:
    return next(row for row in card["rows"] if row["name"] == name)


class GoodPlatform(SelftestCase):
    def test_all_rows_are_ok_in_both_wire_formats(self) -> None:
        for wire_format in WIRES:
            with self.subTest(wire_format=wire_format):
                flags = {"thinking_dialect": "template"} if wire_format == "openai" else {}
                card = self.check(self.model(wire_format, provider_flags=flags), Platform())
                self.assertEqual(status(card), {case.name: "ok" for case in CASES})
                self.assertEqual(card["capabilities"], ["tools", "vision", "pdf", "thinking"])
                self.assertEqual((card["unknown"], card["flags"], card["hints"]), ([], {}, {}))
                self.assertTrue(is_usable(card))
                self.assert_codes(card, usage="usage_cached")

    def test_each_row_asks_the_model_in_its_own_words(self) -> None:
        platform = Platform()
        self.check(self.model(provider_flags={"thinking_dialect": "template"}), platform)
        self.assertEqual(platform.rows[0], "text")
        self.assertEqual(set(platform.rows), {*GOOD, "usage"})
        (image,) = platform.bodies_of("image")
        self.assertTrue(
            image["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
        )
        (pdf,) = platform.bodies_of("pdf")
        self.assertEqual(pdf["messages"][0]["content"][0]["type"], "file")
        (forced,) = platform.bodies_of("forced_tools")
        self.assertEqual(forced["tool_choice"]["function"]["name"], "get_weather")
        self.assertEqual({body["model"] for body in platform.bodies}, {"big", "wolfgate-no-such-model"})

    def test_reasoning_goes_back_in_the_next_turn(self) -> None:
        platform = Platform()
        self.check(self.model("anthropic"), platform)
        first, second = platform.bodies_of("thinking")
        self.assertEqual(first["thinking"], {"type": "enabled", "budget_tokens": 1024})
        block = second["messages"][1]["content"][0]
        self.assertEqual((block["type"], block["signature"]), ("thinking", "c2ln"))

    def test_tokens_and_cost_are_summed(self) -> None:
        model = self.model()
        Price.objects.create(model=model, currency="CNY", input_per_million=2, output_per_million=10)
        card = self.check(model, Platform())
        self.assertEqual(card["input_tokens"], sum(row["input_tokens"] for row in card["rows"]))
        self.assertEqual(row(card, "usage")["input_tokens"] % 2, 0)  # asked twice
        self.assertEqual(
            float(card["cost"]["CNY"]), (card["input_tokens"] * 2 + card["output_tokens"] * 10) / 1_000_000
        )

    def test_capabilities_that_the_row_withholds_are_tested_all_the_same(self) -> None:
        card = self.check(self.model(capabilities=[], provider_flags={"vision": False}), Platform())
        self.assertIn("vision", card["capabilities"])


class BadPlatform(SelftestCase):
    def test_without_tools_and_vision(self) -> None:
        tools = refusal("This model does not support tools", code="unsupported")
        answers: dict[str, Any] = dict.fromkeys(("tools", "forced_tools", "tool_result", "parallel_tools"), tools)
        answers["image"] = refusal("image input is not supported - you may need to provide the mmproj", 500)
        answers["pdf"] = refusal("unknown content type file")
        for wire_format in WIRES:
            with self.subTest(wire_format=wire_format):
                card = self.check(self.model(wire_format), Platform(answers))
                self.assert_codes(card, tools="refused", parallel_tools="refused", image="refused", pdf="refused")
                self.assertEqual(card["capabilities"], ["thinking"])
                self.assertEqual(card["unknown"], [])
                self.assertTrue(is_usable(card))

    def test_an_image_that_is_accepted_and_not_seen(self) -> None:
        card = self.check(self.model(), Platform({"image": Says("Red and blue."), "pdf": Says("An eagle.")}))
        self.assert_codes(card, image="image_not_seen", pdf="pdf_not_read")
        self.assertNotIn("vision", card["capabilities"])

    def test_a_forced_tool_that_is_ignored_is_a_flag_where_tools_work(self) -> None:
        card = self.check(self.model(), Platform({"forced_tools": Says("London is large.")}))
        self.assert_codes(card, tools="called", forced_tools="force_ignored")
        self.assertEqual(card["flags"], {"forced_tools": False})
        card = self.check(self.model(), Platform({"forced_tools": Says("London."), "tools": Says("Rain.")}))
        self.assertEqual((card["flags"], card["hints"]), ({}, {"forced_tools": False}))

    def test_what_the_client_had_to_leave_out_is_a_flag(self) -> None:
        def strict(body: dict[str, Any]) -> Says | Reply:
            for name in ("stream_options", "tool_choice", "parallel_tool_calls", "response_format", "stop"):
                if name in body and body[name] != "auto":
                    return refusal(f"{name} is not supported", param=name)
            return (
                GOOD["json_schema"]
                if "Ann is 34" in json.dumps(body)
                else Says("1, 2, 3, 4, 5", calls=(("c", {"city": "a"}),))
            )  # type: ignore[return-value]

        card = self.check(self.model(), Platform(everything=strict))
        names = ("stream_options", "parallel_tool_calls", "json_schema", "stop", "forced_tools")
        self.assertEqual(card["flags"], dict.fromkeys(names, False))
        self.assert_codes(
            card, forced_tools="force_refused", json_schema="schema_by_prompt", stop_sequences="stop_refused"
        )

    def test_calls_written_as_text_are_a_hint(self) -> None:
        text = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
        card = self.check(self.model(), Platform({"tools": Says(text)}))
        self.assert_codes(card, tools="call_as_text")
        self.assertEqual((card["flags"], card["hints"]), ({}, {"tool_text_parser": True}))

    def test_think_tags_are_a_flag(self) -> None:
        answers: dict[str, Any] = {"text": Says("<think>a word</think>pong")}
        card = self.check(self.model(provider_flags={"think_tags": False}), Platform(answers))
        self.assertEqual(card["flags"], {"think_tags": True})

    def test_arguments_are_judged_by_their_schema(self) -> None:
        for arguments in ({}, {"city": ""}, {"city": 7}, {"city": "Paris", "unit": "kelvin"}, "not JSON"):
            with self.subTest(arguments=arguments):
                card = self.check(self.model(), Platform({"tools": Says(calls=(("c", arguments),))}))
                self.assert_codes(card, tools="bad_arguments")
                self.assertIn("tools", card["capabilities"])

    def test_one_call_where_two_were_asked_for(self) -> None:
        card = self.check(self.model(), Platform({"parallel_tools": GOOD["tools"]}))
        self.assert_codes(card, parallel_tools="one_at_a_time")

    def test_no_usage_and_usage_that_cannot_be(self) -> None:
        for wire_format in WIRES:
            with self.subTest(wire_format=wire_format):
                card = self.check(self.model(wire_format), Platform(has_usage=False))
                self.assert_codes(card, usage="usage_missing", long_context="recalled")
                self.assertFalse(is_usable(card))
        card = self.check(self.model(), Platform({"usage": Says("pong", usage=(3, 0))}))
        self.assert_codes(card, usage="usage_implausible")

    def test_pages_instead_of_answers(self) -> None:
        for wire_format in WIRES:
            with self.subTest(wire_format=wire_format):
                card = self.check(self.model(wire_format), Platform(everything=HTML))
                self.assertEqual(set(status(card).values()), {"error"})
                self.assertEqual((card["capabilities"], len(card["unknown"])), ([], 4))
                self.assertFalse(is_usable(card))

    def test_silence_is_bounded_per_row(self) -> None:
        platform = Platform({"image": Reply(silent=True)})
        card = self.check(self.model(), platform, row_limit_s=0.3)
        self.assert_codes(card, image="timed_out", pdf="pdf_read", tools="called")
        self.assertEqual((card["unknown"], "vision" in card["capabilities"]), (["vision"], False))

    def test_the_whole_run_is_bounded(self) -> None:
        card = self.check(self.model(), Platform(everything=Reply(silent=True)), row_limit_s=0.05, total_limit_s=0.12)
        self.assertEqual(row(card, "text")["code"], "timed_out")
        self.assertEqual(row(card, "unknown_model")["code"], "out_of_time")

    def test_a_refused_credential_is_tried_once_and_never_shown(self) -> None:
        platform = Platform(everything=refusal(f"Incorrect API key provided: {SECRET}", 401))
        card = self.check(self.model(), platform)
        self.assertEqual(platform.rows, ["text"])
        self.assertEqual(row(card, "text")["params"]["kind"], "auth")
        self.assertEqual({r["code"] for r in card["rows"][1:]}, {"not_tried"})
        self.assertNotIn(SECRET, json.dumps(card))

    def test_a_busy_platform_is_asked_once_more(self) -> None:
        busy = refusal("slow down", 429)
        busy.headers = {**busy.headers, "retry-after": "0"}
        asked: list[str] = []

        def pdf(_body: dict[str, Any]) -> Any:
            asked.append("pdf")
            return busy if len(asked) == 1 else GOOD["pdf"]

        card = self.check(self.model(), Platform({"pdf": pdf, "image": busy}))
        self.assert_codes(card, pdf="pdf_read", image="failed")

    def test_a_model_without_an_end_is_not_heard_out(self) -> None:
        reply = Reply([*Platform.events_of(Says("a b c d " * 200)), None])
        card = self.check(self.model("anthropic"), Platform({"image": reply, "tools": reply}))
        self.assert_codes(card, image="image_not_seen", tools="not_called")

    def test_a_broken_stream_is_told(self) -> None:
        pieces = Platform.events_of(Says("1, 2, 3"))
        without_stop = [piece for piece in pieces if b"content_block_stop" not in piece]
        card = self.check(self.model("anthropic"), Platform({"stream": Reply(without_stop)}))
        self.assert_codes(card, stream="stream_fault")
        self.assertEqual(row(card, "stream")["params"], {"fault": "a block without an end"})


class SeveralModels(SelftestCase):
    def test_a_local_server_keeps_one_model_loaded_at_a_time(self) -> None:
        for kind, is_in_turn in (("llamacpp", True), ("openai_compatible", False)):
            with self.subTest(kind=kind):
                first = self.model(kind=kind)
                second = Model.objects.create(provider=first.provider, model_id="small")
                platform = Platform()
                cards = run_selftest([first, second], Options(transport=platform.transport()))
                self.assertEqual([card["model"] for card in cards], [str(first), str(second)])
                names = [body["model"] for body in platform.bodies if body["model"] in ("big", "small")]
                self.assertEqual(names == sorted(names), is_in_turn)


class Thinking(SelftestCase):
    def test_adaptive_thinking_is_tried_where_a_budget_is_refused(self) -> None:
        def only_adaptive(body: dict[str, Any]) -> Any:
            if body["thinking"]["type"] != "adaptive":
                return refusal("thinking.type: enabled is not supported", type="invalid_request_error")
            return GOOD["thinking"]

        card = self.check(self.model("anthropic"), Platform({"thinking": only_adaptive}))
        self.assert_codes(card, thinking="thinks")

    def test_reasoning_that_does_not_come_back(self) -> None:
        def forgetful(body: dict[str, Any]) -> Any:
            return GOOD["thinking"] if len(body["messages"]) == 1 else refusal("Invalid signature in thinking block")

        card = self.check(self.model("anthropic"), Platform({"thinking": forgetful}))
        self.assert_codes(card, thinking="replay_refused")
        self.assertIn("thinking", card["capabilities"])
        card = self.check(self.model("anthropic"), Platform({"thinking": Says("2")}))
        self.assert_codes(card, thinking="no_thinking")
        self.assertNotIn("thinking", (*card["capabilities"], *card["unknown"]))
        card = self.check(self.model(), Platform({"thinking": Says("2")}))
        self.assert_codes(card, thinking="thinking_not_asked")
        self.assertEqual(card["unknown"], ["thinking"])


class Windows(SelftestCase):
    def length(self, platform: Platform, name: str) -> int:
        return max(len(json.dumps(body)) for body in platform.bodies_of(name)) // 4

    def test_a_long_prompt_fits_the_window_and_is_longer_on_demand(self) -> None:
        for fields, long_prompts, low, high in (
            ({}, False, 3000, 5000),
            ({"context_window": 2048}, False, 900, 1500),
            ({"context_window": 100_000}, False, 3000, 5000),
            ({"context_window": 100_000}, True, 50_000, 70_000),
            ({}, True, 25_000, 40_000),
        ):
            with self.subTest(fields=fields, long_prompts=long_prompts):
                platform = Platform()
                self.check(self.model(**fields), platform, long_prompts=long_prompts)
                self.assertTrue(
                    low < self.length(platform, "long_context") < high, self.length(platform, "long_context")
                )

    def test_a_small_window_is_overflowed_and_a_large_one_only_on_demand(self) -> None:
        for window, long_prompts, is_prompt in ((8192, False, True), (100_000, False, False), (100_000, True, True)):
            with self.subTest(window=window, long_prompts=long_prompts):
                error = refusal(
                    f"This model's maximum context length is {window} tokens.", code="context_length_exceeded"
                )
                platform = Platform({"overflow": error if is_prompt else GOOD["overflow"]})
                card = self.check(self.model(context_window=window), platform, long_prompts=long_prompts)
                (body, *_rest) = platform.bodies_of("overflow")
                self.assertEqual(len(json.dumps(body)) > window * 4, is_prompt)
                self.assert_codes(card, overflow="overflow_understood" if is_prompt else "limit_repaired")

    def test_overflows_in_other_words(self) -> None:
        for answer, code in (
            (refusal("Zu lang."), "overflow_not_understood"),
            (Says("Kingfisher"), "overflow_silent"),
            (refusal("boom", 500), "failed"),
        ):
            with self.subTest(code=code):
                card = self.check(self.model(context_window=8192), Platform({"overflow": answer}))
                self.assert_codes(card, overflow=code)

    def test_a_prompt_that_is_cut_without_a_word(self) -> None:
        answers: dict[str, Any] = {"long_context": Says("The Albatross", usage=(1500, 0))}
        card = self.check(self.model(), Platform(answers))
        self.assert_codes(card, long_context="silently_cut")
        error = refusal(
            "the request exceeds the available context size (2048 tokens)", code="exceed_context_size_error"
        )
        card = self.check(self.model(), Platform({"long_context": error}))
        self.assert_codes(card, long_context="window_smaller")


class Found(SelftestCase):
    def test_only_what_differs_is_found(self) -> None:
        model = self.model(flags={"top_k": True})
        self.assertEqual(found_values(model), {})
        self.check(model, Platform({"pdf": Says("An eagle."), "forced_tools": Says("no")}))
        values = {"capabilities": ["tools", "vision", "thinking"], "flags": {"top_k": True, "forced_tools": False}}
        self.assertEqual(found_values(model), values)
        for name, value in values.items():
            setattr(model, name, value)
        self.assertEqual(found_values(model), {})

    def test_what_was_not_learned_stays_as_it_is(self) -> None:
        platform = Platform(dict.fromkeys(("image", "pdf"), refusal("boom", 500)))
        for capabilities, expected in (
            (None, ["tools", "vision", "thinking"]),
            (["pdf"], ["tools", "pdf", "thinking"]),
        ):
            with self.subTest(capabilities=capabilities):
                model = self.model(capabilities=capabilities)
                self.check(model, platform)
                self.assertEqual(found_values(model)["capabilities"], expected)
        model = self.model("anthropic")
        self.check(model, platform)
        self.assertEqual(found_values(model)["capabilities"], ["tools", "vision", "pdf", "thinking"])

    def test_a_model_that_does_not_answer_changes_nothing(self) -> None:
        model = self.model(capabilities=["tools"])
        self.check(model, Platform(everything=refusal("no such page", 404)))
        self.assertEqual(found_values(model), {})
