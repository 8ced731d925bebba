"""A JSON object that arrives in fragments, passed on as it comes and put right on the way.

Small models write trailing commas, Python literals, raw newlines inside strings and single quotes. All of these can be
corrected while they stream, because the beginning of the corrected text never changes. What `feed` returns is always
the beginning of a valid object, so nothing that a client parses incrementally can break it.
"""

import json
import re
from typing import Literal

import orjson

# Clients' incremental parsers give up at some depth (jiter, in the official Python SDK, at 200).
_MAX_DEPTH = 128

_WORTH_PARSING = 256  # characters

# As much of a double-quoted string as is valid: characters, escapes, surrogate pairs.
_STRING = re.compile(
    r'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)
_SINGLE_QUOTED = re.compile(r"[^'\"\\\x00-\x1f]*+")
_SPACE = re.compile(r"[ \t\r\n]*+")
_WORD = re.compile(r"[A-Za-z0-9_$+.\-]*+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PARTIAL_ESCAPE = re.compile(
    r"\\(?:u(?:[0-9a-fA-F]{0,3}|[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)?)?"
)
_LITERALS = {
    "true": "true",
    "false": "false",
    "null": "null",
    "True": "true",
    "False": "false",
    "None": "null",
    "NaN": "null",
    "undefined": "null",
}

_State = Literal["start", "first_key", "key", "colon", "value", "first_item", "item", "after_value", "done"]
_BEFORE_VALUE = ("value", "first_item", "item")


class ObjectScanner:
    """Takes the text of one JSON object in fragments; the first character that is not white space must be `{`."""

    def __init__(self) -> None:
        self.is_complete = False
        self.is_broken = False  # beyond what can be put right; nothing more is passed on
        self.is_repaired = False  # the output differs from the input by more than white space
        self.trailing = ""  # what came after the end of the object
        self.emitted: list[str] = []
        self._state: _State = "start"
        self._stack: list[str] = []
        self._quote = ""  # of the string that is open
        self._is_key = False
        self._carry = ""  # an escape sequence that the fragment's end cut
        self._word = ""  # a number or literal that may go on
        # Held until what follows decides: the opening brace (a lone "{}" may be a placeholder), a comma (it may be a
        # trailing one), an unquoted key.
        self._held = ""

    def feed(self, text: str) -> str:
        """Return what `text` adds to the output."""
        if self.is_broken:
            return ""
        if self.is_complete:
            self.trailing += text
            return ""
        if self._state == "start" and len(text) > _WORTH_PARSING and _is_object(text):
            # A whole call in one chunk, as local servers send it: judged at the speed of the parser.
            self._state, self.is_complete = "done", True
            self.emitted.append(text)
            return text
        if self._carry:
            text, self._carry = self._carry + text, ""
        out: list[str] = []
        position = 0
        while position < len(text):
            if self._quote:
                position = self._inside_string(text, position, out)
            else:
                position = self._between(text, position, out)
            if self.is_broken:
                break
            if self.is_complete:
                self.trailing = text[position:]
                break
        added = "".join(out)
        if added:
            self.emitted.append(added)
        return added

    def completion(self) -> str | None:
        """Return what closes the open brackets, or None when more than brackets is missing."""
        if self.is_complete:
            return "" if self.emitted else "{}"
        if self.is_broken or self._quote or not self._stack:
            return None
        text = ""
        if self._word:
            value = _value_of(self._word)
            if value is None or self._state not in _BEFORE_VALUE:
                return None
            text = self._held + value
        elif self._state in ("colon", "value"):
            return None
        return text + _closers(self._stack) if self.emitted or text else "{}"

    def salvage(self, raw_key: str, raw: str) -> str:
        """Return an ending that makes the output an object which holds `raw` under `raw_key`.

        Top-level members that were already passed on are repeated as null (the last one wins), so that no schema
        accepts the half that arrived.
        """
        member = json.dumps(raw_key) + ":" + json.dumps(raw, ensure_ascii=False)
        if not self.emitted:
            return "{" + member + "}"
        ending = ""
        if self._quote:
            ending = '":null' if self._is_key else '"'
        elif self._state == "colon" and not self._held:
            ending = ":null"
        elif self._state == "value":
            ending = "null"
        ending += _closers(self._stack[1:])
        keys = json.loads("".join(self.emitted) + ending + "}")
        return ending + "".join(f",{json.dumps(key, ensure_ascii=False)}:null" for key in keys) + "," + member + "}"

    def _inside_string(self, text: str, position: int, out: list[str]) -> int:
        run = (_STRING if self._quote == '"' else _SINGLE_QUOTED).match(text, position)
        end = run.end() if run else position
        if end > position:
            out.append(text[position:end])
        if end == len(text):
            return end
        character = text[end]
        if character == self._quote:
            out.append('"')
            self._quote = ""
            self._state = "colon" if self._is_key else "after_value"
        elif character == "\\":
            return self._escape(text, end, out)
        else:  # a control character, or a double quote between single ones
            self.is_repaired = True
            out.append(json.dumps(character)[1:-1])
        return end + 1

    def _escape(self, text: str, position: int, out: list[str]) -> int:
        sequence = text[position : position + 12]
        if len(sequence) < 12 and _PARTIAL_ESCAPE.fullmatch(sequence):
            self._carry = sequence
            return len(text)
        valid = _STRING.match(text, position)
        if valid and valid.end() > position and self._quote == "'":
            # One escape only: the run may go beyond the closing single quote.
            length = 2 if sequence[1] != "u" else 12 if sequence[2] in "dD" and sequence[3] in "89abAB" else 6
            out.append(sequence[:length])
            return position + length
        self.is_repaired = True
        if sequence[1:2] == "'":
            out.append("'")
            return position + 2
        if re.match(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}", sequence):  # half a surrogate pair
            out.append("\\ufffd")
            return position + 6
        out.append("\\\\")  # a backslash that should have been doubled: a path, a regular expression
        return position + 1

    def _between(self, text: str, position: int, out: list[str]) -> int:
        character = text[position]
        if self._word or character not in " \t\r\n{}[]:,\"'":
            return self._continue_word(text, position, out)
        if character in " \t\r\n":
            end = _SPACE.match(text, position).end()  # type: ignore[union-attr]
            if self._held:
                self._held += text[position:end]
            elif self._stack:
                out.append(text[position:end])
            return end
        state = self._state
        if character in "\"'" and state in ("first_key", "key", *_BEFORE_VALUE):
            self._is_key = state in ("first_key", "key")
            self.is_repaired |= character == "'"
            self._quote = character
            self._put('"', out)
        elif character == ":" and state == "colon":
            self._put(":", out)
            self._state = "value"
        elif character == "," and state == "after_value":
            self._held = ","
            self._state = "key" if self._stack[-1] == "{" else "item"
        elif character in "{[" and (state in _BEFORE_VALUE or (state == "start" and character == "{")):
            self._open(character, out)
        elif character == "}" and state in ("first_key", "key", "after_value") and self._stack[-1] == "{":
            self._close("}", out)
        elif character == "]" and state in ("first_item", "item", "after_value") and self._stack[-1] == "[":
            self._close("]", out)
        else:
            self.is_broken = True
        return position + 1

    def _put(self, token: str, out: list[str]) -> None:
        if self._held:
            out.append(self._held)
            self._held = ""
        out.append(token)

    def _open(self, bracket: str, out: list[str]) -> None:
        if len(self._stack) >= _MAX_DEPTH:
            self.is_broken = True
            return
        if self._stack:
            self._put(bracket, out)
        else:
            self._held = bracket
        self._stack.append(bracket)
        self._state = "first_key" if bracket == "{" else "first_item"

    def _close(self, bracket: str, out: list[str]) -> None:
        if self._state in ("key", "item"):  # a trailing comma
            self.is_repaired = True
        self._held = ""
        self._stack.pop()
        if self._stack or self.emitted or out:
            out.append(bracket)
        self._state = "after_value"
        if not self._stack:
            self._state = "done"
            self.is_complete = True

    def _continue_word(self, text: str, position: int, out: list[str]) -> int:
        run = _WORD.match(text, position)
        end = run.end() if run else position
        self._word += text[position:end]
        if not self._word:  # a character that begins nothing
            self.is_broken = True
            return position + 1
        if end < len(text):
            self._end_word(out)
        return end

    def _end_word(self, out: list[str]) -> None:
        word, self._word = self._word, ""
        if self._state in ("first_key", "key"):
            self.is_repaired = True
            self._held += json.dumps(word)
            self._state = "colon"
            return
        value = _value_of(word)
        if value is None or self._state not in _BEFORE_VALUE:
            self.is_broken = True
            return
        self.is_repaired |= value != word
        self._put(value, out)
        self._state = "after_value"


def _is_object(text: str) -> bool:
    if not text.startswith("{") or not text.endswith("}"):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _value_of(word: str) -> str | None:
    return _LITERALS.get(word) or (word if _NUMBER.fullmatch(word) else None)


def _closers(stack: list[str]) -> str:
    return "".join("}" if bracket == "{" else "]" for bracket in reversed(stack))
