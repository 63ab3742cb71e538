from __future__ import annotations

import pytest

from pipeline.reports.page import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"), (0, "0.0 s"), (9.9, "9.9 s"), (9.99, "10 s"), (59.6, "1 min 00 s"),
        (200, "3 min 20 s"), (7500, "2 h 05 min"), (90_000 * 3, "3 d 3 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"), (0, "0"), (0.12345, "0.123"), (12.345, "12.3"), (999.9, "1,000"),
        (9_999, "9,999"), (12_345, "12.3 k"), (2_500_000, "2.5 M"), (1.5e9, "1.5 G"),
        (-0.0563, "-0.0563"),
    ],
)  # fmt: skip
def test_brief_numbers(value: float | None, said: str) -> None:
    assert words.brief(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"), (0, "0 %"), (1, "100 %"), (0.0001, "under 0.1 %"), (0.9999, "over 99.9 %"),
        (0.123, "12.3 %"), (0.5, "50 %"),
    ],
)  # fmt: skip
def test_shares_that_are_not_quite_nothing_are_not_written_so(
    value: float | None, said: str
) -> None:
    assert words.share(value) == said


def test_bytes_and_changes() -> None:
    assert [words.size(n) for n in (5, 2048, 3 * 2**30)] == ["5 bytes", "2.0 KiB", "3.0 GiB"]
    assert (words.signed(-0.5), words.signed(0.25, 2)) == ("\u22120.5000", "+0.25")


def test_a_text_is_isolated_and_its_line_breaks_are_spaces() -> None:
    assert words.shown("one\n two\u2028three") == "<bdi>one two three</bdi>"


def test_an_id_keeps_its_two_ends() -> None:
    text = words.short("a" * 100 + "0123456789", 40)
    assert text.startswith("<bdi>aaaa")
    assert text.endswith("…0123456789</bdi>")
