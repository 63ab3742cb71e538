"""The list of models on terminals of any width."""

from __future__ import annotations

import io

import pytest

from pipeline.checkpoints import cards
from pipeline.checkpoints.cards import Card
from pipeline.reports.models_table import by_groups, card_lines, group_table
from pipeline.reports.terminal import Terminal

EVERY = [cards.read(name) for name in cards.names()]
LONG = Card(
    name="a-name-of-forty-characters-and-a-version",
    family="decoder_classifier",
    score_scale="probability",
    max_tokens=131_072,
    licence="a licence with a long name of its own",
)


def shown(found: list[Card], width: int) -> list[str]:
    terminal = Terminal(width=width)
    terminal.file = io.StringIO()
    terminal.print(group_table(found, width=width, every=found))
    return terminal.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_names_are_whole_and_lines_fit(width: int) -> None:
    found = [*EVERY, LONG]
    lines = shown(found, width)
    assert len(lines) == 1 + len(found)
    assert all(len(line.rstrip()) <= width for line in lines)
    assert [line.split()[0] for line in lines[1:]] == [card.name for card in found]


def test_a_wide_terminal_shows_the_family_and_a_narrow_one_does_not() -> None:
    assert "bi_encoder" in "".join(shown(EVERY, 120))
    assert "bi_encoder" not in "".join(shown(EVERY, 80))
    assert "131,072" in "".join(shown(EVERY, 80))


def test_groups_hold_every_card_once() -> None:
    names = [card.name for members in by_groups(EVERY).values() for card in members]
    assert sorted(names) == cards.names()


def test_a_card_in_full() -> None:
    lines = list(card_lines(cards.read("bge-reranker-v2-m3")))
    text = "\n".join(f"{heading}: {value}" for heading, value in lines)
    for part in ("cross-encoder", "953dc6f6f85a", "max_length: 1024", "what is panda?", "5.26172"):
        assert part in text, part
