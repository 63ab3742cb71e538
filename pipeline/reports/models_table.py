"""Model cards as a person reads them: the list by groups, and one card in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from pipeline.checkpoints.cards import Card, Example
from pipeline.checkpoints.groups import GROUPS, group_of

#: Columns of the list beside the name, those that a narrow terminal keeps first.
_COLUMNS = ("tokens", "licence", "score", "family")

_GAP = 2

#: Characters of a document that are shown; all of them are in the card, and in the JSON.
_MOST_CHARACTERS = 300


def by_groups(cards: Sequence[Card]) -> dict[str, list[Card]]:
    """Cards by their groups, in the order of the groups; groups without cards are left out."""
    found = {name: [card for card in cards if group_of(card.family) == name] for name in GROUPS}
    return {name: members for name, members in found.items() if members}


def group_table(
    cards: Sequence[Card], *, width: int, every: Sequence[Card], heads: bool = True
) -> Table:
    """One group as a table.

    Names are never cut: columns that do not fit beside them are left out, the last ones first.

    Args:
        cards: of the group.
        width: columns of the terminal.
        every: all cards that are shown, so that the tables of all groups line up.
        heads: whether the columns' names stand above them.
    """
    sizes = {head: _size(head, every) for head in ("name", *_COLUMNS)}
    left = width - sizes["name"]
    columns = ["name"]
    for head in _COLUMNS:
        left -= _GAP + sizes[head]
        if left < 0:
            break
        columns.append(head)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=heads)
    for head in columns:
        table.add_column(head, no_wrap=True, min_width=sizes[head])
    for card in cards:
        table.add_row(*(_cell(card, head) for head in columns))
    return table


def card_lines(card: Card) -> Iterator[tuple[str, str]]:
    """Everything of one card as headings and texts; an empty heading goes on with what is above."""
    yield "name", card.name
    yield "group", f"{group_of(card.family)}: {GROUPS[group_of(card.family)]}"
    fields = card.model_dump(exclude={"name", "settings", "examples"}, exclude_none=True)
    for key, value in fields.items():
        if value != "":
            yield key.replace("_", " "), str(value)
    for place, (key, value) in enumerate(card.settings.items()):
        yield "" if place else "settings", f"{key}: {value}"
    for example in card.examples:
        yield from _example_lines(example)


def _example_lines(example: Example) -> Iterator[tuple[str, str]]:
    yield "example", example.source
    yield "", f"scale {example.scale}, tolerance {example.tolerance:g}"
    before = None
    for (query, document), score in zip(example.pairs, example.scores, strict=True):
        if query != before:
            yield "", f"query: {query}"
        before = query
        yield "", f"{score:>12.6g}  {_shortened(document)}"


def _shortened(document: str) -> str:
    if len(document) <= _MOST_CHARACTERS:
        return document
    return f"{document[:_MOST_CHARACTERS]}… ({len(document):,} characters)"


def _size(head: str, cards: Sequence[Card]) -> int:
    return max(len(head), *(len(_cell(card, head)) for card in cards))


def _cell(card: Card, head: str) -> str:
    if head == "tokens":
        return "" if card.max_tokens is None else f"{card.max_tokens:,}"
    if head == "score":
        return card.score_scale
    return str(getattr(card, head))
