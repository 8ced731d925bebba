"""Lists as lines of a text area: what was stored comes back, whatever it holds."""

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.line_fields import LinesField, PromptsField, join_prompts, split_prompts
from routing.models.scenes import MAX_EXAMPLES

LINES = st.text(st.sampled_from("a你- \n\u2028\x0b"), max_size=12)


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("", []),
        ("  \r\n\r\n", []),
        ("hello\r\n 你好 \r\nhello\r\n", ["hello", "你好"]),
        ("---\nfirst\n\n  second line\n---\nother", ["first\n\n  second line", "other"]),
        ("one\nline\n---\ntwo", ["one\nline", "two"]),
        # A longer line of hyphens leaves the shorter ones to the prompts.
        ("----\na\n---\nb\n----\nc", ["a\n---\nb", "c"]),
        ("a -- b\n--", ["a -- b", "--"]),
        ("page one\x0cpage two", ["page one\x0cpage two"]),
    ],
)
def test_prompts_are_lines_or_what_lies_between_separators(text: str, prompts: list[str]) -> None:
    assert split_prompts(text) == prompts


@given(st.lists(LINES, max_size=5))
def test_what_is_stored_comes_back(prompts: list[str]) -> None:
    expected = list(dict.fromkeys(prompt.strip() for prompt in prompts if prompt.strip()))
    assert split_prompts(join_prompts(prompts)) == expected


def test_prompts_of_one_line_are_shown_without_separators() -> None:
    assert join_prompts(["hello", "你好"]) == "hello\n你好"
    assert join_prompts(["a\nb"]) == "---\na\nb"


def test_too_many_and_too_long_prompts_are_refused() -> None:
    field = PromptsField()
    assert len(field.clean("\n".join(str(number) for number in range(MAX_EXAMPLES)))) == MAX_EXAMPLES
    assert field.clean("长" * 4000) == ["长" * 4000]
    for text, part in (("\n".join(str(number) for number in range(1001)), "1001 prompts"), ("长" * 4001, "4001")):
        with pytest.raises(ValidationError) as caught:
            field.clean(text)
        assert part in " ".join(caught.value.messages)
    with pytest.raises(ValidationError):
        field.clean("null\x00character")


def test_a_list_that_is_typed_otherwise_has_not_changed() -> None:
    field = LinesField()
    assert not field.has_changed(["a", "b"], "a\r\n\r\nb\r\na")
    assert field.has_changed(["a", "b"], "b\na")
    assert field.prepare_value(["a", "b"]) == "a\nb"
    assert field.prepare_value("a\n\nb") == "a\n\nb"
