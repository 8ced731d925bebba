"""The decision on a call's page: every part of it in words, old records and hostile text included."""

from typing import Any, get_args

import pytest
from django.utils import translation

from accounts.ledger_items import INNER_KINDS
from gateway.admin.books import decisions
from gateway.admin.books.decisions import decision_html, kind_label, reason_text
from routing.intent.classifier import Outcome
from routing.models import Policy, RequestKind, Scene
from routing.select import NO_CREDENTIAL, NOT_ALLOWED
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.admin.rows import SCRIPT, make_call, make_key, make_rows

RECORD: dict[str, Any] = {
    "kind": "main",
    "by": "scorer",
    "scene": "写代码",
    "confidence": 0.873,
    "scores": {"Chat": 0.127, "写代码": 0.873},
    "classifier": "timeout",
    "facts": {"prompt_tokens": 15320, "max_tokens": 32000, "effort": "xhigh", "plan_mode": True, "needs": ["tools"]},
    "reason": "scene 写代码 by scorer",
    "candidates": ["main/coder", "main/big", "main/small"],
    "order": "cheapest",
    "stays_with": "main/coder",
    "skipped": [{"target": "main/old", "reason": "disabled"}],
    "last_resort": [{"target": "main/small", "reason": "has no tools, no vision"}],
    "cooling": [{"target": "main/small", "reason": "cooling down for 12 s after rate_limited"}],
    "estimates": {"main/coder": "0.02332 USD"},
    "saving": "0.05264 USD",
    "downgraded_by": "100 USD per month of ann",
    "shadow": {"policy": "all-big", "by": "policy", "target": "main/big", "estimated": "0.0761 USD"},
    "notes": ["something else"],
}


def test_the_calls_of_the_gateway_itself_have_a_kind_in_words() -> None:
    assert set(decisions.INNER_KINDS) == set(INNER_KINDS)


def test_every_part_is_in_words() -> None:
    html = decision_html(RECORD, threshold="60.0 %", threshold_width="60.0")
    for part in (
        "request of the user",
        "the local scorer",
        "写代码",
        "87.3 %",
        "60.0 % are needed",
        "asked, and no answer in time",
        "about 15,320 tokens of prompt",
        "thinking effort: very high",
        "plan mode",
        "cheapest first",
        "100 USD per month of ann",
        "main/coder",
        "0.02332 USD",
        "only as a last resort: no tools, no vision; cools down for 12 s after rate_limited",
        "disabled",
        "Estimated saving against the reference model: 0.05264 USD.",
        "all-big",
        "0.0761 USD",
        "something else",
    ):
        assert part in html, part
    assert html.index("main/coder") < html.index("main/big") < html.index("main/small")
    # The highest score first.
    assert html.index('width: 87.3%"') < html.index('width: 12.7%"')


@pytest.mark.parametrize(
    "record",
    [
        {"reason": "alias claude-*", "candidates": ["main/big"]},
        {"why": "text"},
        ["a", "list"],
        "text",
        {"scores": ["no", "object"], "candidates": "none", "skipped": {"a": 1}, "confidence": True, "facts": 3},
        {"scores": {"a": "high", "b": None}, "candidates": [1, None], "skipped": ["x", {"reason": 1}], "shadow": []},
        {"confidence": float("inf"), "estimates": [], "last_resort": [{"target": []}], "kind": 7, "by": {}},
    ],
)
def test_other_records_are_shown_too(record: Any) -> None:
    assert decision_html(record)


def test_how_a_scene_was_found_is_said() -> None:
    html = decision_html({"kind": "compaction", "by": "session", "scene": "Code", "detail": "compaction"})
    assert html.count("compaction") == 2
    html = decision_html({"kind": "title", "by": "kind", "rule": "cheapest", "order": "cheapest"})
    assert "cheapest capable target" in html
    for outcome in get_args(Outcome):
        html = decision_html({"by": "default", "classifier": outcome})
        assert f"<dd>{outcome}</dd>" not in html, "each outcome is in words"


def test_the_rule_that_decided_is_in_words_of_the_reader() -> None:
    written = "rule 3: plan mode, no tools, at least 1200 tokens, effort xhigh, keyword 重构, 改名, pattern ^a"
    record = {"by": "rule", "rule": written, "shadow": {"by": "kind", "rule": "cheapest", "policy": "try"}}
    english = decision_html(record)
    assert "no. 3: plan mode, no tools, at least 1,200 tokens of prompt, thinking effort: very high" in english
    assert "keyword 重构, 改名, pattern ^a" in english
    assert english.count("cheapest capable target") == 1
    with translation.override("zh-hans"):
        assert "image" not in decision_html({"by": "rule", "rule": "rule 0: image"})
    # An alias has a pattern for a rule; other versions may write anything.
    for other in ("claude-*", "rule 1", "rule 1: something else, image"):
        assert other in decision_html({"by": "alias", "rule": other})


def test_nothing_is_a_dash() -> None:
    assert decision_html({}) == decision_html(None) == "-"


@pytest.mark.parametrize("name", sorted(RECORD))
def test_text_is_escaped_wherever_it_stands(name: str) -> None:
    def hostile(value: Any) -> Any:
        if isinstance(value, dict):
            return {SCRIPT + str(key) if name != "facts" else key: hostile(each) for key, each in value.items()}
        if isinstance(value, list):
            return [
                {key: SCRIPT for key in each} if isinstance(each, dict) else hostile(each)  # noqa: C420
                for each in value
            ]
        return value if isinstance(value, int | float) else SCRIPT

    assert "<script>" not in decision_html({**RECORD, name: hostile(RECORD[name])})


def test_reasons_are_translated_as_far_as_they_are_known() -> None:
    with translation.override("en"):
        assert reason_text("prompt of about 15320 tokens exceeds its window").startswith("the prompt of about 15,320")
        assert reason_text(NO_CREDENTIAL).startswith("the client sent no credential")
        assert reason_text(NOT_ALLOWED) == "not allowed for this key"
        assert reason_text("has a bad temper") == "has a bad temper"
        assert reason_text("on trial after timeout") == "on trial after timeout"


def test_kinds_have_names() -> None:
    assert kind_label(RequestKind.TITLE) == "session title"
    assert kind_label("safety") == "safety check"
    assert kind_label("of the future") == "of the future"


class Calls(AdminTestCase):
    def test_the_page_of_a_call_reads_like_a_sentence_not_like_json(self) -> None:
        call = make_call(make_key(self.root, "laptop"), decision=RECORD, kind="main", scene_name="写代码")
        page = self.client.get(row_url(call))
        self.assertContains(page, "Candidates, in the order of asking")
        self.assertContains(page, "gateway/decision.css")
        self.assertNotContains(page, "&quot;candidates&quot;")

    def test_calls_are_found_by_scene_kind_and_policy(self) -> None:
        make_rows(1)
        key = make_key(self.root, "laptop")
        policy = Policy.objects.get()
        Scene.objects.create(name="写代码", description="Writing of code.", route=policy.route)
        wanted = make_call(key, kind="title", policy_name=policy.name, scene_name="写代码")
        make_call(key, kind="probe")
        for query in ({"kind": "title"}, {"scene_name": "写代码"}, {"kind": "title", "policy_name": policy.name}):
            page = self.client.get(list_url(type(wanted)), query)
            assert list(page.context["cl"].result_list) == [wanted], query
        self.assertContains(page, "session title")
        self.assertContains(page, "safety check")

    def test_the_list_names_the_scene_or_what_the_call_was_for(self) -> None:
        key = make_key(self.root, "laptop")
        for fields in ({"kind": "title"}, {"kind": "main"}, {"kind": "main", "scene_name": "写代码"}):
            make_call(key, provider_name="main", model_name="big", **fields)
        page = self.client.get(list_url(type(make_call(key, kind="probe"))))
        for text in ("session title", "写代码"):
            cell = f'<td class="field-routed">main/big<br><span class="quiet">{text}</span></td>'
            self.assertContains(page, cell, html=True)
        self.assertContains(page, '<td class="field-routed">main/big</td>', html=True)
        self.assertContains(page, '<td class="field-routed">-<br><span class="quiet">probe</span></td>', html=True)
