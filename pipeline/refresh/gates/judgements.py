"""Quality of a run on judged queries, whose rows alone are gathered."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.config.gates import GatesConfig
from pipeline.execution.runs.run_files import read_listed
from pipeline.ranking.coverage import coverage
from pipeline.ranking.evaluation import Evaluation, evaluate
from pipeline.ranking.measures import parse_measures
from pipeline.ranking.qrels import read_qrels
from pipeline.ranking.runs import ranked_run
from pipeline.refresh.changes.making import PublishedRun
from pipeline.refresh.changes.matching import match
from pipeline.refresh.changes.places import Place
from pipeline.refresh.changes.work import RunFile
from pipeline.storage.store import read_bytes

logger = logging.getLogger("pipeline")

_COLUMNS = pa.schema(
    [(schema.QUERY_ID, pa.string()), (schema.DOC_ID, pa.string()), (schema.RANK, pa.int32())]
)


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """What the queries of ``gates.qrels`` are judged by.

    Attributes:
        qrels: relevance by query id and document id.
        depth: of the measure.
    """

    qrels: Mapping[str, Mapping[str, int]]
    depth: int

    @classmethod
    def open(cls, gates: GatesConfig) -> Judgements | None:
        """Read them; None where the gate is off. Called before a night's work, so that it fails.

        Raises:
            NotFoundError, InputContractError: there is no such file, or it holds something else.
            ConfigurationError: the libraries of evaluation are not installed.
        """
        if gates.qrels is None:
            return None
        found = cls(qrels=read_qrels(read_bytes(gates.qrels), gates.qrels), depth=gates.top_k)
        parse_measures([found.measure])
        return found

    @property
    def measure(self) -> str:
        """Its name, as ir_measures has it."""
        return f"nDCG@{self.depth}"

    def evaluate(self, run: PublishedRun, place: Place) -> Evaluation | None:
        """Evaluate a run; None where it holds none of the judged queries.

        Raises:
            DamagedRunError: a file of the run is gone, or another than its manifest says.
        """
        pick = partial(_judged_rows, queries=pa.array(list(self.qrels), pa.string()))
        rows = _once_each(place.rows(run.files, pick))
        if not rows.num_rows:
            return None
        order = ranked_run(rows, run.run_id)
        if why := coverage(order, self.qrels).wrong():
            logger.warning("gates.qrels: %s", why)
        return evaluate(order, self.qrels, [self.measure])


def _judged_rows(file: RunFile, queries: pa.Array) -> pa.Table:
    """Rows of a file that are of some queries."""
    rows = read_listed(file.path, file.sha256, _COLUMNS.names).replace_schema_metadata()
    rows = rows.select(_COLUMNS.names).cast(_COLUMNS)
    return rows.filter(pc.is_in(rows.column(schema.QUERY_ID), value_set=queries))


def _once_each(tables: Iterable[pa.Table]) -> pa.Table:
    """All rows; a document that stands in a list twice, and is not scored there, counts once."""
    nothing = _COLUMNS.empty_table()
    return match(nothing, pa.concat_tables([nothing, *tables])).after.rows
