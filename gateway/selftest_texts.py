"""The findings of the self-test in words: the names of its rows, and a sentence for each code."""

import json
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

# A sign that reads without colours, and the word for it.
MARKS: dict[str, tuple[str, Any]] = {
    "ok": ("✓", _("works")),
    "partial": ("◐", _("in part")),
    "no": ("✗", _("no")),
    "error": ("!", _("error")),
    "skipped": ("–", _("not tried")),
}

NAMES: dict[str, Any] = {
    "text": _("Text"),
    "stream": _("Stream"),
    "usage": _("Usage"),
    "tools": _("Tools"),
    "forced_tools": _("Forced tool"),
    "tool_result": _("Tool result"),
    "parallel_tools": _("Parallel tools"),
    "image": _("Image"),
    "pdf": "PDF",
    "thinking": _("Thinking"),
    "json_schema": _("JSON schema"),
    "stop_sequences": _("Stop sequences"),
    "long_context": _("Long prompt"),
    "overflow": _("Overflow"),
    "unknown_model": _("Unknown model"),
}

SENTENCES: dict[str, Any] = {
    "answered": _("Answers as asked."),
    "answered_otherwise": _("Answers, but not with the word that was asked for."),
    "thought_only": _("Thinks unasked, and did not come to its answer within the limit."),
    "no_text": _("The answer is empty."),
    "cut_off": _("The output limit cut the answer off after %(tokens)s tokens."),
    "streamed": _("%(pieces)s pieces, the first after %(first_ms)s ms."),
    "one_piece": _("The whole answer came as one piece, after %(first_ms)s ms."),
    "stream_fault": _("The stream breaks the protocol: %(fault)s."),
    "usage_missing": _("Reports no usage; calls are booked by estimate."),
    "usage_implausible": _("Reports %(reported)s prompt tokens where about %(estimated)s are expected."),
    "usage_reported": _("Reports %(reported)s prompt tokens (estimate: %(estimated)s); nothing cached on a repeat."),
    "usage_cached": _(
        "Reports %(reported)s prompt tokens (estimate: %(estimated)s); %(cached)s of them cached on a repeat."
    ),
    "called": _("Calls the tool with valid arguments."),
    "bad_arguments": _("Calls a tool, but with arguments that its schema does not allow."),
    "not_called": _("Answers in words instead of calling the tool."),
    "call_as_text": _("Writes the call as text; the server does not parse this model's calls."),
    "forced": _("Calls the tool that it is forced to call."),
    "forced_by_prompt": _("Cannot be forced by this kind of platform; follows the instruction in the prompt."),
    "prompt_ignored": _("Cannot be forced by this kind of platform, and did not follow the instruction in the prompt."),
    "force_refused": _("The platform refuses to force a tool."),
    "force_ignored": _("Ignores that it is forced to call a tool."),
    "result_used": _("Uses the result of a tool."),
    "result_accepted": _("Takes the result of a tool, but does not use it."),
    "called_again": _("Takes the result of a tool, but calls it again."),
    "parallel": _("%(count)s calls in one answer."),
    "one_at_a_time": _("Calls one tool at a time."),
    "image_seen": _("Sees the image."),
    "image_not_seen": _("Accepts the image, but does not see it."),
    "pdf_read": _("Reads the PDF file."),
    "pdf_not_read": _("Accepts the PDF file, but does not read it."),
    "thinks": _("Thinks, shows it, and takes it back in the next turn."),
    "thinks_hidden": _("Thinks without showing it (%(tokens)s tokens)."),
    "replay_refused": _("Thinks, but refuses its thinking in the next turn: %(message)s"),
    "replay_failed": _("Thinks; the next turn failed: %(message)s"),
    "thinking_refused": _("The platform refuses to be asked for thinking."),
    "no_thinking": _("Does not think when asked."),
    "thinking_not_asked": _("Cannot be asked to: this kind of platform has no known switch for thinking."),
    "schema_obeyed": _("Answers as the schema says."),
    "schema_by_prompt": _("Answers as the schema says, which is written into the prompt."),
    "json_fenced": _("Answers as the schema says, but inside a code block."),
    "schema_ignored": _("Does not answer as the schema says."),
    "stopped": _("Stops at a stop sequence and says so."),
    "stopped_unsaid": _("Stops at a stop sequence."),
    "stop_ignored": _("Goes on behind a stop sequence."),
    "stop_refused": _("The platform refuses stop sequences."),
    "stop_unclear": _("Its answer does not tell whether it stops at a stop sequence."),
    "recalled": _("Knows the beginning of a prompt of %(tokens)s tokens."),
    "not_recalled": _("Does not know the beginning of a prompt of %(tokens)s tokens."),
    "silently_cut": _("The platform cut the prompt without a word: %(reported)s of about %(estimated)s tokens."),
    "window_smaller": _("The context window is smaller than expected: %(message)s"),
    "overflow_understood": _("Refuses a prompt that is too long in words that the gateway understands: %(message)s"),
    "overflow_not_understood": _("Refuses what is too long in words that the gateway does not understand: %(message)s"),
    "overflow_silent": _("Answers a prompt that is longer than its context window."),
    "limit_understood": _("Refuses a huge output limit in words that the gateway understands: %(message)s"),
    "limit_repaired": _("Refuses a huge output limit; the gateway lowered it."),
    "limit_ignored": _("Takes any output limit."),
    "unknown_model_understood": _("Says clearly that it does not know a model: %(message)s"),
    "unknown_model_not_understood": _(
        "Refuses an unknown model in words that the gateway does not understand: %(message)s"
    ),
    "unknown_model_answers": _("Answers under any model name; a typing error would go unnoticed."),
    "refused": _("The platform refuses it: %(message)s"),
    "failed": _("Failed (%(kind)s): %(message)s"),
    "timed_out": _("No end within %(seconds)s seconds."),
    "out_of_time": _("The time for the whole test was over."),
    "not_tried": _("Not tried after the first failure."),
}


def name_of(row: Mapping[str, Any]) -> str:
    """Return the name of a row of a card."""
    return str(NAMES.get(row.get("name", ""), row.get("name", "")))


def sentence_of(row: Mapping[str, Any]) -> str:
    """Return what a row found; the bare code where an older or newer version wrote the card."""
    code = str(row.get("code", ""))
    sentence = SENTENCES.get(code)
    if sentence is None:
        return code
    params = {name: f"{value:,}" if isinstance(value, int) else value for name, value in row["params"].items()}
    try:
        return str(sentence) % params
    except KeyError:
        return code


def mark_of(status: str) -> tuple[str, str]:
    """Return the sign of a status and its word."""
    sign, word = MARKS.get(status, ("?", status))
    return sign, str(word)


def totals_of(card: Mapping[str, Any]) -> str:
    """Return what the test took."""
    text = gettext("%(input)s tokens in, %(output)s tokens out") % {
        "input": f"{card.get('input_tokens', 0):,}",
        "output": f"{card.get('output_tokens', 0):,}",
    }
    costs = [f"{currency} {amount}" for currency, amount in (card.get("cost") or {}).items()]
    return f"{text} ({', '.join(costs)})" if costs else text


def listed(names: Any) -> str:
    """Return capabilities or flags as text, "-" without any."""
    if isinstance(names, Mapping):
        return ", ".join(f"{name}: {json.dumps(value)}" for name, value in names.items()) or "-"
    return ", ".join(names or ()) or "-"
