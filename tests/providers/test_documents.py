"""PDF files of all kinds, honest and not, become text or a reason."""

import pytest

from providers.documents import Limits, extract
from tests.fakes.pdfs import chinese_pdf, encrypted_pdf, scanned_pdf, slow_pdf, text_pdf

REPORT = text_pdf("Revenue rose by 4 %", "", "Costs fell")


def test_text_comes_page_by_page() -> None:
    found = extract(REPORT)
    assert found.text == "[page 1]\nRevenue rose by 4 %\n[page 2: no text]\n[page 3]\nCosts fell"
    assert (found.pages, found.problem) == (3, "")
    assert extract(REPORT) == found  # prompt caches compare bytes


def test_chinese_text_is_read_through_the_map_of_its_font() -> None:
    assert extract(chinese_pdf()).text == "[page 1]\n季度报告"


def test_a_file_that_needs_no_password_to_read_is_read() -> None:
    assert extract(encrypted_pdf("")).text == "[page 1]\nsecret plans"


@pytest.mark.parametrize(
    ("data", "pages", "problem"),
    [
        (encrypted_pdf("letmein"), 0, "it is encrypted"),
        (scanned_pdf(2), 2, "no extractable text (scanned?)"),
        (REPORT[: len(REPORT) // 3], 0, "it is damaged"),
        (b"%PDF-1.7\n" + bytes(1000), 0, "it is damaged"),
        (b"", 0, "it is not a PDF file"),
        (b"PK\x03\x04 a spreadsheet", 0, "it is not a PDF file"),
    ],
)
def test_a_file_without_text_gives_a_reason(data: bytes, pages: int, problem: str) -> None:
    found = extract(data)
    assert (found.text, found.pages, found.problem) == ("", pages, problem)


def test_a_file_that_is_too_large_is_not_opened() -> None:
    found = extract(REPORT, Limits(file_bytes=len(REPORT) - 1))
    assert found.problem == "it is larger than 0 MB"
    assert extract(REPORT, Limits(file_bytes=len(REPORT))).text


@pytest.mark.parametrize(
    ("limits", "ending"),
    [
        (Limits(pages=2), "[page 2: no text]\n[pages 3 to 3 are left out: only the first 2 pages are extracted]"),
        (Limits(pages=3), "[page 3]\nCosts fell"),
        (
            Limits(characters=24),
            "[page 3]\nCosts\n[left out from here, within page 3 of 3: only the first 24 characters are extracted]",
        ),
    ],
)
def test_what_is_cut_off_is_said(limits: Limits, ending: str) -> None:
    assert extract(REPORT, limits).text.endswith(ending)


def test_a_thousand_pages_are_cut_and_counted() -> None:
    found = extract(text_pdf(*(f"p{number}" for number in range(1000))))
    assert found.pages == 1000
    assert found.text.endswith(
        "[page 200]\np199\n[pages 201 to 1000 are left out: only the first 200 pages are extracted]"
    )


@pytest.mark.parametrize("limits", [Limits(cpu_s=60, wall_s=1.5), Limits(cpu_s=1, wall_s=60)])
def test_a_file_that_would_take_minutes_is_stopped_and_what_was_read_is_kept(limits: Limits) -> None:
    found = extract(slow_pdf(), limits)
    assert found.text == "[page 1]\nfirst\n[pages 2 to 2 are left out: extracting them took too long]"
