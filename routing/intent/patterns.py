"""Regular expressions of administrators, run in time that grows with the text alone.

RE2 instead of Python's `re`: every main turn is matched on the event loop, where `(a+)+$` would stop all calls for
minutes.
"""

from functools import lru_cache

import re2

# With room for its automaton RE2 takes microseconds for a text, without it up to a hundred milliseconds.
_MAX_MEMORY_BYTES = 2 * 1024 * 1024
# `.{0,900}` has more steps than that, and with them the room would not do.
_MAX_STEPS = 3000
_KEPT = 200


class PatternInvalid(ValueError):
    """A pattern that RE2 does not take; the text says why, in RE2's words."""


def is_found(pattern: str, text: str) -> bool:
    """Say whether `pattern` occurs in `text`, whatever the case. Raises `PatternInvalid`."""
    # As bytes: offsets in characters, which nobody needs, would be worked out otherwise. Half a surrogate pair, which
    # JSON can spell, is no UTF-8.
    return compiled(pattern).search(text.encode("utf-8", "replace")) is not None


@lru_cache(maxsize=_KEPT)
def compiled(pattern: str) -> "re2._Regexp":
    """Return a pattern ready to search with. Raises `PatternInvalid`."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _MAX_MEMORY_BYTES
    try:
        program = re2.compile(pattern, options=options)
    except UnicodeEncodeError as error:
        raise PatternInvalid("not valid Unicode") from error
    except re2.error as error:
        reason = error.args[0]
        raise PatternInvalid(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from error
    if program.programsize > _MAX_STEPS:
        raise PatternInvalid("pattern too large - shorten its repetitions")
    return program
