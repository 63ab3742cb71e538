"""The model cards: what ``model.name`` may be."""

from __future__ import annotations

import json
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from jobs.command import command, console
from pipeline.checkpoints import cards
from pipeline.checkpoints.cards import Card
from pipeline.checkpoints.groups import GROUPS, group_of
from pipeline.config.loading import nearest
from pipeline.engine import families
from pipeline.errors import ConfigurationError
from pipeline.reports.models_table import by_groups, card_lines, group_table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


class _ListByDefault(TyperGroup):
    """``rerank models WORD`` is ``rerank models list WORD``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListByDefault,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="List, show and add model cards: what `model.name` may be. `rerank models WORD` is "
    "`rerank models list WORD`.",
)


@app.command("list")
def list_models(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="Only cards with these words in name, family or place."),
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Only this group, such as cross-encoder.")
    ] = None,
    family: Annotated[str | None, typer.Option("--family", help="Only this family.")] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Only licences with this text in them.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=1, help="Only models that take so many tokens.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the model cards by groups, or show the one that is named."""
    with command():
        _refuse_unknown("--group", group, GROUPS)
        _refuse_unknown("--family", family, families.names())
        words = words or []
        if len(words) == 1 and words[0] in cards.names():
            found = [cards.read(words[0])]
        else:
            found = [
                card
                for card in map(cards.read, cards.names())
                if _has_all(card, words)
                and group in (None, group_of(card.family))
                and family in (None, card.family)
                and (licence or "").lower() in card.licence.lower()
                and (tokens is None or (card.max_tokens or 0) >= tokens)
            ]
        if as_json:
            typer.echo(json.dumps([_data(card) for card in found], indent=2))
        elif len(words) == 1 and [card.name for card in found] == words:
            _show(found[0])
        elif not found:
            raise ConfigurationError(f"no model card matches; {_hint(words)}")
        else:
            _print_list(found)


@app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="A model card.")], as_json: AsJson = False
) -> None:
    """Show everything that one card says."""
    with command():
        card = cards.read(name)
        if as_json:
            typer.echo(json.dumps(_data(card), indent=2))
        else:
            _show(card)


def _refuse_unknown(option: str, value: str | None, known: Any) -> None:
    if value is not None and value not in known:
        raise ConfigurationError(f"{option}: no '{value}'; {nearest(value, known)}")


def _has_all(card: Card, words: list[str]) -> bool:
    text = f"{card.name} {card.family} {card.weights or ''}".lower()
    return all(word.lower() in text for word in words)


def _hint(words: list[str]) -> str:
    if not words:
        return "leave a filter out"
    return nearest(words[0], cards.names())


def _data(card: Card) -> dict[str, Any]:
    return {**card.model_dump(mode="json"), "group": group_of(card.family)}


def _show(card: Card) -> None:
    for heading, text in card_lines(card):
        console.say(f"{heading:<17}{text}")


def _print_list(found: list[Card]) -> None:
    for place, (group, members) in enumerate(by_groups(found).items()):
        if place:
            console.say()
        console.say(f"{group}: {GROUPS[group]}")
        table = group_table(members, width=console.width, every=found, heads=not place)
        console.print(table)
