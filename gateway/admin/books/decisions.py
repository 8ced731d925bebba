"""The record of a decision for people: which kind, what decided, which candidates, what was passed over and why.

Records are of the version that wrote them: any part may be absent, and of another shape.
"""

import re
from collections.abc import Mapping
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway.admin_base import grouped, pretty_json
from routing.models import Effort, KindRule, RequestKind, Route
from routing.select import NO_CREDENTIAL, NOT_ALLOWED

# Calls that the gateway makes itself, beside those of clients.
INNER_KINDS = {"safety": _("safety check"), "classifier": _("classifier"), "continuation": _("continuation")}
_BY = {
    "named": _("the client named the target"),
    "kind": _("what the request is for"),
    "alias": _("an alias"),
    "policy": _("the policy"),
    "quota": _("a quota that is used up"),
    "rule": _("a rule of the scene"),
    "session": _("the session, which stays with its scene"),
    "approval": _("the session, as the words only agree"),
    "scorer": _("the local scorer"),
    "classifier": _("a classifier model"),
    "recorded": _("the scene of the record, as the words were not kept"),
    "default": _("nothing: the default scene answers"),
}
_DETAILS = {
    "tool loop": _("within a tool loop"),
    "no scene is clear from the words": _("no scene is clear from the words"),
    "the request has no words": _("the request has no words of the user"),
}
_OUTCOMES = {
    "hit": _("asked, and answered"),
    "cached": _("known from an equal request"),
    "timeout": _("asked, and no answer in time"),
    "failed": _("asked, and failed"),
    "invalid": _("asked, and the answer was none of the scenes"),
    "open": _("not asked, because it has failed repeatedly"),
    "refused": _("not asked, because of a quota of the caller or of the database"),
    "empty": _("not asked, because the words are nothing but orders to the router"),
    "none": _("there is none"),
}
_REASONS = {
    "disabled": _("disabled"),
    NOT_ALLOWED: _("not allowed for this key"),
    NO_CREDENTIAL: _("the client sent no credential of its own, and none is stored"),
    "not an Anthropic-compatible server": _("not an Anthropic-compatible server"),
    "not the name of a model": _("not the name of a model"),
}
_LACKS = {
    "no tools": _("no tools"),
    "little room for an answer": _("little room for an answer"),
    "no vision": _("no vision"),
    "no thinking": _("no thinking"),
}
_WINDOW = re.compile(r"prompt of about (\d+) tokens exceeds its window")
_COOLING = re.compile(r"cooling down for (\d+) s after (\w+)")
_ON_TRIAL = re.compile(r"on trial after (\w+)")
# As `routing.intent.rules` writes what held.
_RULE = re.compile(r"rule (\d+): (.+)", re.DOTALL)
_CONDITIONS = {
    "plan mode": _("plan mode"),
    "no plan mode": _("no plan mode"),
    "image": _("has an image"),
    "no image": _("has no image"),
    "PDF": _("has a PDF file"),
    "no PDF": _("has no PDF file"),
    "tools": _("has tools"),
    "no tools": _("no tools"),
}
_FLAGS = {
    "is_approval": _("the words only agree"),
    "in_tool_loop": _("in a tool loop"),
    "has_history": _("the conversation goes on"),
    "plan_mode": _("plan mode"),
    "has_image": _("has an image"),
    "has_pdf": _("has a PDF file"),
    "has_tools": _("has tools"),
}
_SHOWN = frozenset(
    (
        *("kind", "by", "rule", "scene", "detail", "classifier", "downgraded_by", "confidence", "scores", "facts"),
        *("reason", "candidates", "order", "stays_with", "skipped", "last_resort", "cooling", "estimates", "saving"),
        "shadow",
    )
)


def kind_label(kind: str) -> str:
    """Return what a request of `kind` is for, in words."""
    if kind in RequestKind.values:
        return str(RequestKind(kind).label)
    return str(INNER_KINDS.get(kind, kind))


def by_label(by: str) -> str:
    """Return what decided, in words."""
    return str(_BY.get(by, by))


def reason_text(reason: str) -> str:
    """Return why a target was passed over, in the reader's language as far as it is one of the usual reasons."""
    if reason in _REASONS:
        return str(_REASONS[reason])
    if found := _WINDOW.fullmatch(reason):
        text = gettext("the prompt of about %(count)s tokens exceeds its window")
        return text % {"count": grouped(int(found[1]))}
    if found := _COOLING.fullmatch(reason):
        text = gettext("cools down for %(seconds)s s after %(error)s")
        return text % {"seconds": found[1], "error": found[2]}
    if found := _ON_TRIAL.fullmatch(reason):
        return gettext("on trial after %(error)s") % {"error": found[1]}
    lacking = reason.removeprefix("has ").split(", ")
    if reason.startswith("has ") and all(each in _LACKS for each in lacking):
        return ", ".join(str(_LACKS[each]) for each in lacking)
    return reason


def _rule_text(by: str, rule: str) -> str:
    """Return what a record names as the rule, in the reader's language as far as the gateway has worded it."""
    if by == "kind" and rule in KindRule.Action.values:
        return str(KindRule.Action(rule).label)
    found = _RULE.fullmatch(rule) if by == "rule" else None
    if found is None:
        return rule
    parts, rest = [], found[2]
    # Keyword and pattern come last, and may hold commas themselves.
    while rest and not rest.startswith(("keyword ", "pattern ")):
        part, _comma, rest = rest.partition(", ")
        parts.append(_condition(part))
    if rest.startswith("keyword "):
        rest = gettext("keyword %(keyword)s") % {"keyword": rest.removeprefix("keyword ")}
    elif rest:
        rest = gettext("pattern %(pattern)s") % {"pattern": rest.removeprefix("pattern ")}
    conditions = ", ".join([*parts, *([rest] if rest else [])])
    return gettext("no. %(number)s: %(conditions)s") % {"number": found[1], "conditions": conditions}


def _condition(words: str) -> str:
    name, _space, value = words.partition(" ")
    if name == "effort":
        label = str(Effort(value).label) if value in Effort.values else value
        return gettext("thinking effort: %(effort)s") % {"effort": label}
    if name == "time":
        return gettext("time: %(time)s") % {"time": value}
    if found := re.fullmatch(r"at (least|most) (\d+) tokens", words):
        is_least = found[1] == "least"
        text = (
            gettext("at least %(count)s tokens of prompt")
            if is_least
            else gettext("at most %(count)s tokens of prompt")
        )
        return text % {"count": grouped(int(found[2]))}
    return str(_CONDITIONS.get(words, words))


def decision_html(record: Any, **more: Any) -> SafeString:
    """Return `record` as HTML, everything in it escaped; `more` is for the template, such as `threshold`."""
    if not isinstance(record, Mapping) or not (record or more):
        return pretty_json(record) if record else SafeString("-")
    context = {
        "rows": _rows(record),
        "scores": _scores(record),
        "confidence": _percent(record.get("confidence")),
        "candidates": _candidates(record),
        "skipped": [(name, reason_text(reason)) for name, reason in _pairs(record.get("skipped"))],
        "saving": _text(record.get("saving")),
        "shadow": _shadow(record.get("shadow")),
    }
    rest = {name: value for name, value in record.items() if name not in _SHOWN}
    if rest:
        context["rest"] = pretty_json(rest)
    return render_to_string("admin/decision.html", {**context, **more})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _percent(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return round(100 * min(max(value, 0), 1), 1) if is_number else None


def _pairs(passed: Any) -> list[tuple[str, str]]:
    rows = passed if isinstance(passed, list) else []
    return [(str(row.get("target", "")), str(row.get("reason", ""))) for row in rows if isinstance(row, Mapping)]


def _rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what decided, as label and text."""
    by, rule = _text(record.get("by")), _text(record.get("rule"))
    detail = _text(record.get("detail"))
    order = _text(record.get("order"))
    found = [
        (gettext("kind"), kind_label(_text(record.get("kind")))),
        (gettext("scene"), _text(record.get("scene"))),
        (gettext("decided by"), by_label(by) or _text(record.get("reason"))),
        (gettext("rule"), _rule_text(by, rule)),
        # A rule's text is its detail too.
        (gettext("because"), "" if detail == rule else str(_DETAILS.get(detail, kind_label(detail)))),
        (gettext("classifier"), str(_OUTCOMES.get(_text(record.get("classifier")), _text(record.get("classifier"))))),
        (gettext("quota used up"), _text(record.get("downgraded_by"))),
        (gettext("order"), str(Route.Order(order).label) if order in Route.Order.values else order),
        (gettext("stays with"), _text(record.get("stays_with"))),
        (gettext("request"), _facts(record.get("facts"))),
    ]
    return [(label, text) for label, text in found if text]


def _facts(facts: Any) -> str:
    """Return what the request brought along, in one line."""
    if not isinstance(facts, Mapping):
        return ""
    parts = []
    for name, text in (
        ("prompt_tokens", gettext("about %(count)s tokens of prompt")),
        ("pdf_tokens", gettext("%(count)s of them PDF files")),
        ("max_tokens", gettext("up to %(count)s tokens of answer")),
    ):
        count = facts.get(name)
        if isinstance(count, int) and count:
            parts.append(text % {"count": grouped(count)})
    effort = _text(facts.get("effort"))
    if effort:
        label = str(Effort(effort).label) if effort in Effort.values else effort
        parts.append(gettext("thinking effort: %(effort)s") % {"effort": label})
    parts += [str(text) for name, text in _FLAGS.items() if facts.get(name)]
    return ", ".join(parts)


def _scores(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the scores of the scenes, the highest first."""
    scores = record.get("scores")
    if not isinstance(scores, Mapping):
        return []
    found = [(str(name), _percent(score)) for name, score in scores.items()]
    rows = [
        {"name": name, "percent": percent, "width": f"{percent:.1f}", "is_chosen": name == record.get("scene")}
        for name, percent in found
        if percent is not None
    ]
    return sorted(rows, key=lambda row: -float(row["percent"]))


def _candidates(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the candidates in the order of asking, with what is to be said about each."""
    names = record.get("candidates")
    estimates = record.get("estimates")
    last = dict(_pairs(record.get("last_resort")))
    cooling = dict(_pairs(record.get("cooling")))
    rows = []
    for name in names if isinstance(names, list) else []:
        notes = []
        if name in last:
            notes.append(gettext("only as a last resort: %(reason)s") % {"reason": reason_text(last[name])})
        if name in cooling:
            notes.append(reason_text(cooling[name]) or gettext("cools down"))
        cost = estimates.get(name) if isinstance(estimates, Mapping) else None
        rows.append({"name": str(name), "notes": notes, "cost": _text(cost)})
    return rows


def _shadow(shadow: Any) -> list[tuple[str, str]]:
    """Return what another policy would have chosen."""
    if not isinstance(shadow, Mapping):
        return []
    by = _text(shadow.get("by"))
    found = [
        (gettext("policy"), _text(shadow.get("policy"))),
        (gettext("scene"), _text(shadow.get("scene"))),
        (gettext("decided by"), by_label(by)),
        (gettext("rule"), _rule_text(by, _text(shadow.get("rule")))),
        (gettext("target"), _text(shadow.get("target"))),
        (gettext("estimated cost"), _text(shadow.get("estimated"))),
        (gettext("error"), _text(shadow.get("error"))),
    ]
    return [(label, text) for label, text in found if text]
