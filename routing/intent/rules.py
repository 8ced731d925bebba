"""The rules that choose a scene without asking anybody."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime

from routing.intent.facts import Facts
from routing.intent.patterns import PatternInvalid, is_found
from routing.snapshot import SceneRuleSnapshot, SceneSnapshot

logger = logging.getLogger(__name__)

# Scripts from here on (Han, kana, Hangul …) put no space between words.
_UNSPACED = "\u2e80"


def matching(scenes: Sequence[SceneSnapshot], facts: Facts, local_now: datetime) -> tuple[SceneSnapshot, str] | None:
    """Return the scene of the first rule whose conditions all hold, and the rule in words; None if there is none.

    The first by position; of equal positions, by the order of the scenes. `local_now` is in the business time zone.
    """
    ranked = sorted(
        ((rule.position, at, scene, rule) for at, scene in enumerate(scenes) for rule in scene.rules),
        key=lambda entry: entry[:2],
    )
    folded = facts.text.casefold() if ranked else ""
    for _position, _at, scene, rule in ranked:
        held: list[str] = []
        for holds, words in _conditions(rule, facts, folded, local_now):
            if not holds:
                break
            held.append(words)
        else:
            # Without any condition it would take every call; such a rule cannot be saved.
            if held:
                return scene, f"rule {rule.position}: {', '.join(held)}"
    return None


def has_keyword(text: str, keyword: str) -> bool:
    """Say whether `keyword` occurs in `text`, both case-folded.

    As a word of its own where its script has word boundaries: "go" is in "let's go" and in "用go写", not in "good".
    """
    if not keyword:
        return False
    at = text.find(keyword)
    while at >= 0:
        end = at + len(keyword)
        begins = at == 0 or not (_is_lettered(keyword[0]) and _is_lettered(text[at - 1]))
        if begins and (end == len(text) or not (_is_lettered(keyword[-1]) and _is_lettered(text[end]))):
            return True
        at = text.find(keyword, at + 1)
    return False


def _is_lettered(character: str) -> bool:
    return character < _UNSPACED and (character.isalnum() or character == "_")


def _conditions(rule: SceneRuleSnapshot, facts: Facts, folded: str, local_now: datetime) -> Iterator[tuple[bool, str]]:
    """Yield whether each condition of a rule holds, and the condition in words; the cheap ones first."""
    for wanted, actual, words in (
        (rule.plan_mode, facts.plan_mode, "plan mode"),
        (rule.has_image, facts.has_image, "image"),
        (rule.has_pdf, facts.has_pdf, "PDF"),
        (rule.has_tools, facts.has_tools, "tools"),
    ):
        if wanted is not None:
            yield wanted == actual, words if wanted else f"no {words}"
    if rule.min_prompt_tokens is not None:
        yield facts.prompt_tokens >= rule.min_prompt_tokens, f"at least {rule.min_prompt_tokens} tokens"
    if rule.max_prompt_tokens is not None:
        yield facts.prompt_tokens <= rule.max_prompt_tokens, f"at most {rule.max_prompt_tokens} tokens"
    if rule.efforts:
        yield facts.effort in rule.efforts, f"effort {facts.effort}"
    if rule.weekdays or rule.time_from is not None:
        yield _is_time(rule, local_now), f"time {local_now:%a %H:%M}"
    if rule.keywords:
        keyword = next((keyword for keyword in rule.keywords if has_keyword(folded, keyword)), None)
        yield keyword is not None, f"keyword {keyword}"
    if rule.pattern:
        yield _is_found(rule.pattern, facts.text), f"pattern {rule.pattern}"


def _is_found(pattern: str, text: str) -> bool:
    try:
        return is_found(pattern, text)
    except PatternInvalid as error:
        # No form lets it in. A call must not fail because somebody wrote it into the database.
        logger.warning("A scene rule is passed over; its pattern is invalid: %s", error)
        return False


def _is_time(rule: SceneRuleSnapshot, local_now: datetime) -> bool:
    """Say whether the clock on the wall is in the span of a rule, on one of its weekdays.

    The hours after midnight of a span that passes it belong to the day before: "Friday, 22:00 to 06:00" ends on
    Saturday morning. Where clocks change, an hour that comes twice counts twice, and one that is left out never.
    """
    weekday, clock = local_now.isoweekday(), local_now.time()
    begin, end = rule.time_from, rule.time_until
    if begin is not None and end is not None:
        if begin < end:
            if not begin <= clock < end:
                return False
        elif clock < end:
            weekday = (weekday - 2) % 7 + 1
        elif clock < begin:
            return False
    return not rule.weekdays or weekday in rule.weekdays
