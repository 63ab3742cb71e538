"""What changes the content of a unit's file, as one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pipeline
from pipeline import schema
from pipeline.checkpoints import cards
from pipeline.config import JobConfig
from pipeline.engine.device import device_kind, dtype_name
from pipeline.outputs import finding
from pipeline.rerankers.base import Reranker, WeightedReranker


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which scores a run holds; written into every output file.

    Attributes:
        name: the card's name, or the place of the weights.
        family: the family's name.
        revision: commit of a hub id, empty elsewhere.
        digest: sha256 over :attr:`files`; empty for a family without weights.
        template: the family's template version.
        settings: the family's settings, every default resolved.
        dtype: precision of the network's body.
        score_scale: what a score is.
        licence: of the weights, as the card states it; empty without a card.
        images: where images may be read from and how large they may be; None where the family
            reads none.
        files: hex sha256 of every file of the checkpoint that changes scores, by name; every
            process compares what it reads with them.
    """

    name: str
    family: str
    revision: str
    digest: str
    template: str
    settings: dict[str, Any]
    dtype: str
    score_scale: str
    licence: str
    files: dict[str, str]
    images: dict[str, object] | None = None


def model_identity(config: JobConfig, reranker: Reranker) -> ModelIdentity:
    """Describe a resolved model section (see :func:`pipeline.checkpoints.cards.resolve`)."""
    model, card = config.model, cards.known(config.model.name)
    checkpoint = reranker.checkpoint if isinstance(reranker, WeightedReranker) else None
    return ModelIdentity(
        name=cards.plain_name(model.name) or model.weights or str(model.family),
        family=str(model.family),
        revision=model.revision or "",
        digest=checkpoint.digest if checkpoint is not None else "",
        template=reranker.template,
        settings=reranker.settings.model_dump(mode="json"),
        dtype=dtype_name(config.engine.dtype, device_kind(config.replicas.gpus)),
        score_scale=reranker.score_scale,
        licence=card.licence if card is not None else "",
        files=checkpoint.files if checkpoint is not None else {},
        images=config.input.images.content() if reranker.reads_images else None,
    )


def score_fingerprint(model: ModelIdentity) -> str:
    """32 hex digits over what changes a score and is no content of the query or a document.

    The weights, the family with its template and settings, the precision, how images are read, and
    the version of the code. Not the revision or the name by which the weights were found, not how
    the text is made of columns (the text itself is content), and nothing of the output.
    """
    kept = ("family", "digest", "template", "settings", "dtype", "images")
    described = {name: value for name, value in asdict(model).items() if name in kept}
    parts = {"model": described, "version": pipeline.__version__.split(".")[0]}
    return _digest(parts)


def fingerprint(
    config: JobConfig,
    model: ModelIdentity,
    *,
    reuse: str | None = None,
    calibration: str | None = None,
) -> str:
    """32 hex digits over everything that changes what a unit's file holds.

    The model, its settings and precision, how text and columns are read, the copied columns, and
    the versions of schema and code. Batch size, replicas and placement do not belong here, nor
    does the name that a model was asked for by, unless there are formats beside Parquet. Where
    bits must repeat, what batches are made of belongs here too; and where scores of an earlier run
    are taken, the table that says which.

    Args:
        config: the job.
        model: its model.
        reuse: id of its reuse table; None: it has none.
        calibration: digest of the file by which scores are calibrated; None: they are not.
    """
    described = asdict(model)
    del described["name"], described["licence"], described["files"]  # the digest is of the files
    if model.images is None:  # runs without images are named as they were
        del described["images"]
    written = config.output.model_dump(exclude={"path", "formats", "calibration"})
    if config.output.fusion is None:  # runs without fusion are named as they were
        del written["fusion"]
    parts: dict[str, Any] = {
        "model": described,
        "text": [config.input.text_columns, config.input.text_separator],
        "columns": [config.input.layout, config.input.columns, written],
        "schema": schema.SCHEMA_VERSION,
        "version": pipeline.__version__.split(".")[0],
    }
    others = finding.find_all(config.output.formats)
    if others:  # a run in Parquet alone is named as it was before there were formats
        parts["formats"] = {name: sink.version for name, sink in others.items()}
        parts["name"] = model.name  # which a format may write into its files
    if config.engine.deterministic:
        parts["batches"] = config.engine.model_dump(
            exclude={"dtype", "memory_fraction", "min_overlap"}
        )
        parts["threads"] = config.replicas.cpus
    if calibration is not None:
        parts["calibration"] = calibration
    if reuse is not None:
        parts["reuse"] = reuse
    return _digest(parts)


def _digest(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
