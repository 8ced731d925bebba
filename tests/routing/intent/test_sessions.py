"""Which calls belong together."""

import time
from typing import Any

import pytest

from routing.intent.sessions import loop_id, session_key


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def called(number: int) -> list[dict[str, Any]]:
    """Return a call of a tool and its result."""
    call = {"type": "tool_use", "id": f"toolu_{number}", "name": "Bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "ok"}
    return [{"role": "assistant", "content": [call]}, user([result])]


def reply(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


FIRST = [user("Please sort the files."), *called(0)]


def test_keys_are_of_one_user_session_and_agent() -> None:
    keys = {
        session_key(user_id, session, agent)
        for user_id in (1, 11)
        for session in ("a", "1", "", 'a", "b')
        for agent in ("", "b", "a")
    }
    assert len(keys) == 24
    assert all(len(key) == 64 for key in keys)
    assert session_key(1, "a") == session_key(1, "a", "")
    assert len(session_key(1, "\ud800\x00…")) == 64  # what JSON lets through


def test_the_turns_of_a_loop_share_their_id() -> None:
    first = loop_id(FIRST[:1])
    assert loop_id(FIRST) == first
    assert loop_id([*FIRST, *called(1), *called(2)]) == first
    # A text beside the results, an answer begun, a note of the client in between.
    beside = user([*called(3)[1]["content"], {"type": "text", "text": "<system-reminder>careful</system-reminder>"}])
    assert loop_id([*FIRST, called(3)[0], beside]) == first
    assert loop_id([*FIRST, {"role": "system", "content": "note"}, reply("Well,")]) == first
    assert loop_id([*FIRST, user("<system-reminder>careful</system-reminder>"), *called(1)]) == first


@pytest.mark.parametrize(
    "again",
    [
        [user([{"type": "text", "text": "Please sort the files."}]), *called(0)],
        [user([{"type": "text", "text": "Please sort the files.", "cache_control": {"type": "ephemeral"}}])],
    ],
)
def test_form_and_cache_marks_make_no_difference(again: list[dict[str, Any]]) -> None:
    assert loop_id(again) == loop_id(FIRST)


@pytest.mark.parametrize(
    "other",
    [
        [user("Please sort the file.")],
        [user("Please"), user("sort the files.")],
        [user("Hello"), reply("Hi"), user("Please sort the files.")],
        [*FIRST, reply("Done."), user("And now by size.")],
        [reply("Hi"), user("Please sort the files.")],
        [],
    ],
)
def test_another_request_is_another_loop(other: list[dict[str, Any]]) -> None:
    assert loop_id(other) != loop_id(FIRST)


def test_an_approval_belongs_to_what_it_approves_of() -> None:
    plan = [user("Please sort the files."), reply("I would sort them by name. Shall I?")]
    assert loop_id([*plan, user("yes")]) == loop_id(plan[:1])
    assert loop_id([*plan, user("好的"), *called(0)]) == loop_id(plan[:1])
    assert loop_id([*plan, user("yes"), reply("Done. More?"), user("继续")]) == loop_id(plan[:1])
    assert loop_id([user("yes")]) == loop_id([user("yes"), *called(0)])
    assert loop_id([*plan, user("No, by size.")]) != loop_id(plan[:1])


def test_pictures_without_a_word_are_told_apart() -> None:
    def shown(data: str) -> list[dict[str, Any]]:
        return [user([{"type": "image", "source": {"type": "base64", "data": data}}])]

    assert loop_id(shown("a")) != loop_id(shown("b"))
    assert loop_id([*shown("a"), *called(0)]) == loop_id(shown("a"))


def test_what_no_client_should_send_is_borne() -> None:
    assert loop_id([user([{"type": "text", "text": 5}, {"type": "x", "id": ["y"]}])])
    assert loop_id([user(None), reply("Yes?"), user("yes")])
    assert loop_id([user("\ud800")]) != loop_id([user("x")])


def test_a_long_conversation_is_told_apart_quickly() -> None:
    long = [user("word " * 100_000), reply("fine")] * 2000 + [user("Please sort the files.")]
    begin = time.perf_counter()
    assert loop_id(long) != loop_id(long[2:])
    assert time.perf_counter() - begin < 1.0


@pytest.mark.parametrize(
    "messages",
    [
        [user("x"), *[user(" ")] * 300_000],
        [user("x"), *[user("<system-reminder>" + "z <" * 20_000 + "</system-reminder>")] * 200],
        [user("x"), *called(0) * 100_000],
        [user([{"type": "text", "text": "x"}] * 500_000)],
        [user([{"type": "text", "text": "yes"}] * 2000), reply("Well?")] * 200,
    ],
    ids=["empty", "reminders", "calls", "blocks", "approvals"],
)
def test_a_body_of_any_size_takes_little_time(messages: list[dict[str, Any]]) -> None:
    # It is made for callers that are not known yet.
    begin = time.process_time()
    loop_id(messages)
    assert time.process_time() - begin < 0.1
