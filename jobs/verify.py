"""Check a model against its publisher's own numbers: ``rerank verify MODEL``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from jobs.command import command, console
from pipeline.api import load
from pipeline.checkpoints import cards
from pipeline.config import ModelConfig
from pipeline.engine.verification import verify
from pipeline.errors import ConfigurationError, ModelError


def verify_model(
    model: Annotated[str, typer.Argument(help="A model card; see `rerank models`.")],
    weights: Annotated[
        str | None, typer.Option("--weights", help="Where the checkpoint lies, if not on a hub.")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Commit of a hub id.")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="As engine.dtype of a job.")] = "float32",
) -> None:
    """Score the published example of a model and compare with the published scores."""
    with command():
        card = cards.read(model)
        if card.example is None:
            raise ConfigurationError(
                f"model card '{model}' has no published example; nobody printed scores to compare"
            )
        place = ModelConfig(name=model, weights=weights, revision=revision)
        config = cards.resolve(place)
        ranker = load(
            str(config.weights),
            family=config.family,
            revision=config.revision,
            sha256=config.sha256,
            dtype=dtype,
            **config.settings,
        )
        checks = verify(card.example, ranker.score, ranker.score_scale)
        table = Table("document", "published", "ours", "difference", "", box=None, pad_edge=False)
        for check in checks:
            table.add_row(
                check.document[:48],
                f"{check.published:.5f}",
                f"{check.ours:.5f}",
                f"{check.difference:.5f}",
                "pass" if check.passed else "FAIL",
            )
        console.say(f"published  {card.example.source}")
        console.print(table)
        failed = sum(not check.passed for check in checks)
        tolerance = f"{card.example.tolerance:g} ({_unit(card.example)})"
        if failed:
            raise ModelError(
                f"{failed} of {len(checks)} scores differ by more than {tolerance}: the "
                f"checkpoint is not the published '{model}', or is run wrongly"
            )
        console.say(f"pass       all {len(checks)} within {tolerance}")


def _unit(example: cards.Example) -> str:
    return "cosine" if example.scale == "cosine" else "logits"
