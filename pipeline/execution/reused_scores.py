"""The reuse table of a run: made or found before the run is planned, and found again to resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from pipeline import schema
from pipeline.candidates.inputs import Input
from pipeline.candidates.reuse import REUSE, ReuseTable
from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.execution.runs.identity import ModelIdentity, score_fingerprint
from pipeline.execution.unit_size import UnitSize
from pipeline.rerankers.base import Reranker
from pipeline.storage.store import absolute, join

#: Seconds of a CPU for a document whose score is taken: to read it, find it and write its row.
#: Measured: 31,000 documents of 350 characters a second, on one core of an AMD EPYC.
_REUSED_S: Final = 3e-5

#: Gives the table for an opened input and a model; None: every document is to be scored.
FindTable = Callable[[Input, ModelIdentity, Reranker], ReuseTable | None]


def refuse_own_columns(config: JobConfig) -> None:
    """Refuse copied columns that are called like those of a run with a reuse table.

    Raises:
        ConfigurationError: names the column.
    """
    for name in schema.REUSE_COLUMNS:
        if name in config.output.columns:
            raise ConfigurationError(
                f"output.columns: '{name}' is written by a run that takes scores of an earlier one "
                "itself; remove it, or give the input's column another name"
            )


def found_table(
    find: FindTable, source: Input, model: ModelIdentity, reranker: Reranker
) -> ReuseTable | None:
    """The table that ``find`` gives.

    Raises:
        ConfigurationError: its scores are of another model, or of other settings.
    """
    table = find(source, model, reranker)
    wanted = score_fingerprint(model)
    if table is not None and table.score_fingerprint != wanted:
        raise ConfigurationError(
            f"{table.path}: a reuse table for score fingerprint {table.score_fingerprint}, but "
            f"this job's model and settings have {wanted}; scores of another model are never "
            "taken: make the table anew with `rerank refresh`"
        )
    return table


def table_of_run(described: dict[str, Any], output: str) -> FindTable | None:
    """What finds the table of a run again; None where the run has none.

    Args:
        described: content of ``run.json``.
        output: the folder that the run lies in now, which may have been moved with the table.
    """
    told = described.get("reuse")
    if told is None:
        return None

    def find(source: Input, model: ModelIdentity, reranker: Reranker) -> ReuseTable:
        try:
            return ReuseTable.open(told["folder"])
        except NotFoundError:
            return ReuseTable.open(join(absolute(output), REUSE, told["table_id"]))

    return find


def left_over(size: UnitSize, table: ReuseTable | None) -> UnitSize:
    """A size whose time is that of the documents that are still to be scored, and of the others."""
    counts = {} if table is None else table.counts.get("documents", {})
    left, reused = counts.get("rescore", 0) + counts.get("new", 0), counts.get("reuse", 0)
    if size.seconds is None or not left + reused:
        return size
    seconds = size.seconds * left / (left + reused) + reused * _REUSED_S
    return replace(size, seconds=round(seconds, 3))
