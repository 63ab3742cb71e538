"""The model cards: what ``model.name`` may be."""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

import pipeline
from jobs.command import command, console
from pipeline.api import load
from pipeline.checkpoints import cards
from pipeline.checkpoints.cards import Card
from pipeline.checkpoints.groups import GROUPS, group_of
from pipeline.checkpoints.naming import settled
from pipeline.config import ModelConfig, load_config
from pipeline.config.reading.loading import nearest
from pipeline.engine import families
from pipeline.engine.own_cards import card_yaml, own_card
from pipeline.errors import ConfigurationError
from pipeline.reports.models_table import by_groups, card_lines, group_table

#: What a card may be called: a file's name on any system, and nothing that a shell reads as more.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


class _ListByDefault(TyperGroup):
    """``rerank models WORD`` is ``rerank models list WORD``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
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


@app.command("add")
def add_model(
    name: Annotated[str, typer.Argument(help="What to call it; the card is NAME.yaml.")],
    weights: Annotated[
        str, typer.Option("--weights", help="The checkpoint: a folder, URI, package or hub id.")
    ],
    revision: Annotated[
        str | None, typer.Option("--revision", help="Commit, branch or tag of a hub id.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option("--adapter", help="A LoRA adapter to merge into the weights.")
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", help="Where the checkpoint's files do not say it.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--settings", metavar="KEY=VALUE", help="A family's setting; repeatable."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder for the card; default: RERANK_MODELS or rerank-models."),
    ] = None,
) -> None:
    """Write a card for a checkpoint of yours, with the scores that it gives on this CPU."""
    with command():
        folder = to or Path(os.environ.get(cards.MODELS) or "rerank-models")
        file = _new_file(folder, name)
        asked = load_config(
            ModelConfig,
            {"weights": weights, "revision": revision, "adapter": adapter, "family": family},
            source="rerank models add",
            overrides=[f"settings.{one}" for one in settings or []],
        )
        model = settled(asked)
        ranker = load(
            str(model.weights),
            family=model.family,
            revision=model.revision,
            adapter=model.adapter,
            adapter_revision=model.adapter_revision,
            device="cpu",
            dtype="float32",
            **model.settings,
        )
        card = own_card(
            name,
            model,
            ranker.engine.reranker,
            ranker.score,
            source=_computed_with(),
        )
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(card_yaml(card))
        _show(card)
        console.say(f"{'card':<17}{file}")


def _new_file(folder: Path, name: str) -> Path:
    """Where a card is written.

    Raises:
        ConfigurationError: the name is no name of a card, or there is one already.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"NAME: '{name}': expected small letters, digits, dots, hyphens and underscores, a "
            "letter or digit first"
        )
    if name in cards.shipped():
        raise ConfigurationError(f"NAME: '{name}' is a card that is shipped; take another name")
    file = folder / f"{name}.yaml"
    if file.exists():
        raise ConfigurationError(f"NAME: {file} is there already; remove it or take another name")
    return file


def _computed_with() -> str:
    return (
        f"this checkpoint, rerank-pipeline {pipeline.__version__}, torch {version('torch')}, "
        "CPU float32"
    )


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
