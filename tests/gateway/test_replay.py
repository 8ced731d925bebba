"""Recorded calls decided again: by their words, by their record, and what they would cost."""

import io
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import TestCase
from django.utils import timezone

from accounts.models import ApiKey, CallRecord, User
from gateway.models import Capture
from gateway.replay import Replayed, Totals, recorded_calls, replay
from providers.models import Credential, Model, Price, Provider
from routing.models import ClassifierEntry, KindRule, Policy, Route, RouteEntry, Scene, SceneRule
from routing.snapshot import load
from tests.admin.rows import make_call, make_key, stage

START = timezone.now() - timedelta(hours=2)


class ReplayTestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        provider = Provider.objects.create(name="up", kind="openai_compatible", base_url="http://192.0.2.1/v1")
        credential = Credential(provider=provider, name="team")
        credential.set_secret("sk-0123456789abcdef")
        credential.save()
        routes = {}
        cls.models = {}
        for name, price in (("big", 10), ("small", 1)):
            model = Model.objects.create(provider=provider, model_id=name, capabilities=["tools"])
            Price.objects.create(
                model=model,
                currency="USD",
                input_per_million=price,
                output_per_million=price,
                valid_from=START - timedelta(days=1),
            )
            cls.models[name] = model
            routes[name] = Route.objects.create(name=name)
            RouteEntry.objects.create(route=routes[name], model=model)
        text = "What this scene is for."
        cls.chat = Scene.objects.create(name="闲聊", description=text, route=routes["small"], is_default=True)
        cls.code = Scene.objects.create(name="code", description=text, route=routes["big"])
        SceneRule.objects.create(scene=cls.code, keywords=["重构"])
        cls.policy = Policy.objects.create(name="new", mode="smart", min_confidence=1)
        Policy.objects.create(name="old", mode="direct", route=routes["big"], is_default=True)
        cls.key: ApiKey = make_key(User.objects.create_user("ann"), "laptop")
        cls.minutes = 0

    def call(self, words: str | None = None, **fields: Any) -> CallRecord:
        """Write a call of 1,000 + 1,000 tokens that the big model answered, with its request where `words` are given."""
        type(self).minutes += 1
        values: dict[str, Any] = {
            "requested_model": "claude-x",
            "provider_name": "up",
            "model_name": "big",
            "policy_name": "old",
            "input_tokens": 1000,
            "output_tokens": 1000,
            "cost": Decimal("0.02"),
            "currency": "USD",
            "started_at": START + timedelta(minutes=self.minutes),
        }
        call = make_call(self.key, **{**values, **fields})
        if words is not None:
            body = {"model": "claude-x", "max_tokens": 50, "messages": [{"role": "user", "content": words}]}
            self.capture(call, stage(json.dumps(body)))
        return call

    def capture(self, call: CallRecord, request: bytes) -> None:
        Capture.objects.create(
            call=call,
            client_request=request,
            upstream_request=b"",
            upstream_response=b"",
            client_response=b"",
            is_full=True,
            expires_at=timezone.now(),
        )

    def replayed(self, policy: str = "new", **options: Any) -> list[Replayed]:
        snapshot = load()
        found = next(each for each in snapshot.policies.values() if each.name == policy)
        return list(replay(snapshot, found, recorded_calls(START, timezone.now(), **options)))

    def found(self, **options: Any) -> list[tuple[str, str, str]]:
        return [(each.scene, each.target, each.by) for each in self.replayed(**options)]


class Decisions(ReplayTestCase):
    def test_words_that_were_kept_decide(self) -> None:
        self.call("你好")
        self.call("请重构它")
        assert self.found() == [("闲聊", "up/small", "default"), ("code", "up/big", "rule")]
        moved, stayed = self.replayed()
        assert (moved.is_moved, stayed.is_moved) == (True, False)
        # 2,000 tokens at 1 per million; and what was booked where nothing moves.
        assert (moved.cost, stayed.cost) == ((Decimal("0.002"), "USD"), (Decimal("0.02"), "USD"))

    def test_without_words_the_scene_of_the_record_stays(self) -> None:
        self.call(scene_name="code", decision={"by": "rule", "facts": {"prompt_tokens": 900, "text_sha": "ab"}})
        self.call(scene_name="gone")
        assert self.found() == [("code", "up/big", "recorded"), ("", "", "default")]
        assert [each.is_unknown for each in self.replayed()] == [False, True]

    def test_kinds_and_names_need_no_words(self) -> None:
        self.call(kind="title")
        self.call(requested_model="up/small")
        KindRule.objects.create(policy=self.policy, kind="probe", action="scene", scene=self.code)
        self.call(kind="probe")
        assert self.found() == [("", "up/small", "kind"), ("", "up/small", "named"), ("code", "up/big", "kind")]

    def test_a_session_goes_on_as_the_policy_would_have_led_it(self) -> None:
        self.call("请重构它", session_id="s")
        self.call(session_id="s", kind="tool_result", scene_name="闲聊", decision={"facts": {"in_tool_loop": True}})
        self.call(session_id="other", kind="tool_result", decision={"facts": {"in_tool_loop": True}})
        self.call(session_id="early", kind="tool_result", scene_name="code", decision={"facts": {"in_tool_loop": True}})
        found = [(each.scene, each.by, each.is_unknown) for each in self.replayed()]
        assert found == [
            ("code", "rule", False),
            ("code", "session", False),
            ("", "default", True),
            ("code", "session", False),
        ]

    def test_the_key_and_a_refusal_count(self) -> None:
        ApiKey.objects.update(allowed_models=["up/big"])
        self.call("你好")
        (only,) = self.replayed()
        assert "may not use" in only.refusal
        assert not only.is_moved

    def test_a_classifier_is_taken_to_say_what_it_said(self) -> None:
        ClassifierEntry.objects.create(policy=self.policy, model=self.models["small"])
        self.call("Hello there", scene_name="code")
        self.call("Hello there")
        assert [(each.scene, each.asks_classifier) for each in self.replayed()] == [("code", True), ("闲聊", True)]

    def test_only_answered_calls_of_clients_in_the_time_and_the_newest_of_them(self) -> None:
        self.call(kind="safety")
        self.call(status="failed")
        self.call(provider_name="", model_name="")
        self.call(started_at=START - timedelta(minutes=1))
        wanted = [self.call("你好", policy_name="old"), self.call("你好", policy_name="other"), self.call("你好")]
        assert [each.recorded.call for each in self.replayed()] == wanted
        assert [each.recorded.call for each in self.replayed(limit=2)] == wanted[1:]
        assert [each.recorded.call for each in self.replayed(policy_name="other")] == wanted[1:2]

    def test_damaged_captures_and_odd_records_are_no_obstacle(self) -> None:
        for request in (b"no zlib", stage("{no json"), stage(json.dumps({"messages": 3})), stage("{}", truncated=True)):
            self.capture(self.call(scene_name="code"), request)
        self.call(decision=["a"], scene_name="code")
        self.call(decision={"facts": {"needs": "tools", "prompt_tokens": "many", "effort": 3}}, scene_name="code")
        assert self.found() == [("code", "up/big", "recorded")] * 6

    def test_the_number_of_queries_does_not_grow_with_the_calls(self) -> None:
        for _number in range(12):
            self.call("你好")
        with self.assertNumQueries(2):
            recorded_calls(START, timezone.now())

    def test_the_totals_add_up(self) -> None:
        self.call("你好")
        self.call("请重构它")
        self.call("你好", cost=None, currency="")
        self.call(scene_name="gone")
        totals = Totals()
        for each in self.replayed():
            totals.add(each)
        assert (totals.calls, totals.moved, totals.unknown, totals.unpriced, totals.by_words) == (4, 2, 1, 1, 3)
        assert (totals.before, totals.after) == ({"USD": Decimal("0.04")}, {"USD": Decimal("0.022")})
        assert totals.moves == {("up/big", "up/small"): 2}


class Command(ReplayTestCase):
    def run_it(self, *arguments: str) -> str:
        out = io.StringIO()
        call_command("replay_routing", *arguments, stdout=out)
        return out.getvalue()

    def test_it_prints_what_would_move_and_what_it_would_cost(self) -> None:
        call = self.call("你好")
        self.call("请重构它")
        text = self.run_it("--policy", "new", "--moved")
        assert f"{call.request_id} main: up/big -> up/small (scene - -> 闲聊, by default)" in text
        assert "2 calls, 2 of them with their words" in text
        assert "  1 from up/big to up/small" in text
        assert "cost: 0.04 -> 0.022 USD" in text
        document = json.loads(self.run_it("--policy", "new", "--json", "--since", START.isoformat()))
        assert (document["calls"], document["moved"]) == (2, 1)
        assert document["moves"] == [{"from": "up/big", "to": "up/small", "calls": 1}]
        assert json.loads(self.run_it("--policy", "new", "--json", "--of", "nobody"))["calls"] == 0

    def test_a_wrong_option_is_named(self) -> None:
        for arguments, part in (
            (["--policy", "none"], "no policy none"),
            (["--policy", "new", "--since", "yesterday"], "--since"),
            (["--policy", "new", "--until", "2026-02-31"], "--until"),
            (["--policy", "new", "--since", "0001-01-01T00:00+08:00"], "--since"),
            (["--policy", "new", "--limit", "0"], "--limit"),
        ):
            with pytest.raises(CommandError, match=part):
                self.run_it(*arguments)
