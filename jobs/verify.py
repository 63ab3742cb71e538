"""Check a model against the scores that its card states: ``rerank verify MODEL``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from jobs.command import command, console
from pipeline.api import Ranker, load
from pipeline.checkpoints import cards
from pipeline.engine.verification import Check, unit_of, verify
from pipeline.errors import ConfigurationError, ModelError


def verify_model(
    model: Annotated[str, typer.Argument(help="A model card; see `rerank models`.")],
    weights: Annotated[
        str | None, typer.Option("--weights", help="Where the checkpoint lies, if not on a hub.")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Commit of a hub id.")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="As engine.dtype of a job.")] = "float32",
) -> None:
    """Score the examples of a model's card and compare with the scores stated there."""
    with command():
        card = cards.read(model)
        if not card.examples:
            raise ConfigurationError(
                f"model card '{model}' has no examples; nobody printed scores to compare"
            )
        ranker = _loaded(model, card, weights, revision, dtype)
        failed = 0
        for example in card.examples:
            checks = verify(example, ranker.score, ranker.score_scale)
            failed += not _show(example, checks)
        if failed:
            raise ModelError(
                f"{failed} of {len(card.examples)} examples of '{model}' failed: the checkpoint is "
                "not the one that the card means, or is run wrongly"
            )


def _loaded(
    name: str, card: cards.Card, weights: str | None, revision: str | None, dtype: str
) -> Ranker:
    """The card's model; its weights from somewhere else, where that is asked for."""
    if weights is None:
        return load(name, revision=revision, dtype=dtype)
    return load(
        weights,
        family=card.family,
        revision=revision,
        adapter=card.adapter,
        adapter_revision=card.adapter_revision,
        dtype=dtype,
        **card.settings,
    )


def _show(example: cards.Example, checks: list[Check]) -> bool:
    """Print one example; whether all of its scores are within the tolerance."""
    table = Table("document", "stated", "ours", "difference", "", box=None, pad_edge=False)
    for check in checks:
        table.add_row(
            check.document[:48],
            f"{check.stated:.5f}",
            f"{check.ours:.5f}",
            f"{check.difference:.5f}",
            "pass" if check.passed else "FAIL",
        )
    console.say(f"stated     {example.source}")
    console.print(table)
    off = sum(not check.passed for check in checks)
    tolerance = f"{example.tolerance:g} ({unit_of(example)})"
    if off:
        console.say(f"FAIL       {off} of {len(checks)} scores differ by more than {tolerance}")
    else:
        console.say(f"pass       all {len(checks)} within {tolerance}")
    return not off
