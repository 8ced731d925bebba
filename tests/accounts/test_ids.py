"""Identifiers: unique across calls and across forked workers."""

import os
import random

from accounts.ids import new_call_id, new_message_id


def test_ids_have_their_forms() -> None:
    call_id, message_id = new_call_id(), new_message_id()
    assert (call_id.version, call_id.variant) == (7, "specified in RFC 4122")
    assert len(message_id) == 28
    assert message_id[4:].isalnum()


def test_ids_do_not_repeat_when_the_common_generator_is_seeded() -> None:
    state, found = random.getstate(), set()
    try:
        for _ in range(3):
            random.seed(0)
            found |= {new_message_id(), new_call_id().int & (2**62 - 1)}
    finally:
        random.setstate(state)
    assert len(found) == 6


def test_a_forked_worker_has_ids_of_its_own() -> None:
    children = [_ids_of_a_child() for _ in range(2)]
    assert len({*children, new_message_id()}) == 3


def _ids_of_a_child() -> str:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, new_message_id().encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()
