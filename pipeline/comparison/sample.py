"""The queries of an input that models are compared on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import pyarrow as pa

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.picking import pick_queries, read_picks
from pipeline.candidates.unchanged import read_unchanged
from pipeline.config import JobConfig
from pipeline.errors import InputContractError
from pipeline.execution.staged_input import opened
from pipeline.ranking.coverage import hint
from pipeline.ranking.id_forms import NearIds
from pipeline.ranking.others import Others, Qrels

logger = logging.getLogger("pipeline")

#: Ids without judgements that are looked at together.
_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Whole candidate lists.

    Attributes:
        lists: of the drawn queries.
        seed: that they were drawn with.
        queries: of the input, or of its first ones where the job has a limit.
        unjudged: of these, those without judgements, which were not drawn from; 0 without qrels.
        absent: judged queries that the input does not have; 0 without qrels.
        near: of these, those that differ from queries of the input by the form of ids alone.
        ordered_by: what the first stage's order is known by: first_stage_rank, first_stage_score,
            or rows where the input has neither.
    """

    lists: CandidateLists
    seed: int
    queries: int
    unjudged: int
    absent: int
    near: tuple[NearIds, ...]
    ordered_by: str

    @property
    def query_ids(self) -> list[str]:
        """Ids of the drawn queries, as text."""
        return [str(value) for value in self.lists.queries.column(schema.QUERY_ID).to_pylist()]

    @property
    def rejected(self) -> dict[str, int]:
        """Candidates that no model is shown, by reason."""
        return reasons.counts(self.lists.documents.column(schema.REASON))

    def described(self) -> dict[str, object]:
        """Plain data of a report."""
        return {
            "queries": self.queries,
            "sampled_queries": len(self.lists),
            "seed": self.seed,
            "unjudged_queries": self.unjudged,
            "absent_queries": self.absent,
            "near_queries": [asdict(each) for each in self.near],
            "documents": self.lists.documents.num_rows,
            "not_shown": self.rejected,
            "first_stage_by": self.ordered_by,
        }


def draw(job: JobConfig, *, count: int, seed: int, qrels: Qrels | None) -> Sample:
    """Open the input as a run does, and read some of its queries.

    Args:
        job: where the input is and how it is read; its limit bounds what is drawn from.
        count: queries to draw.
        seed: see :func:`pipeline.candidates.picking.pick_queries`.
        qrels: judgements, whose queries alone are drawn; None: any query is.

    Raises:
        InputContractError: the input breaks its contract, none of its queries is judged, or those
            that were drawn have no candidate to score.
        RerankError: see :func:`pipeline.execution.staged_input.opened`.
    """
    with ExitStack() as staying:
        source, staged = opened(job, staying)
    separator = (job.input if staged is None else staged.config).text_separator
    judged = None if qrels is None else _Judged(qrels)
    picks = read_unchanged(
        source,
        lambda source: pick_queries(
            source,
            count,
            seed=seed,
            limit=job.limit,
            wanted=judged or (lambda _: True),
        ),
    )
    where = ", ".join(job.input.path)
    near = () if judged is None else judged.near()
    if not picks.picks:
        raise InputContractError(
            f"{where}: none of its queries ({picks.queries:,}) "
            + ("has an id" if qrels is None else "is judged; expected query ids as in the "
               f"judgements (such as {min(qrels, default=None)!r}){hint(near)}")
        )  # fmt: skip
    if sum(each.count for each in near) > picks.wanted:
        raise InputContractError(
            f"{where}: {picks.wanted:,} of its queries are judged{hint(near)}; write ids alike: "
            "they are compared character by character"
        )
    lists = read_unchanged(
        source, lambda source: read_picks(source, picks.picks, separator=separator)
    )
    if not lists.scoreable()[0].documents.num_rows:
        raise InputContractError(
            f"{where}: the {len(lists)} queries that were drawn have no candidate that can be "
            f"scored ({reasons.counts(lists.documents.column(schema.REASON)) or 'empty lists'}); "
            "`rerank inspect` says what the input is"
        )
    return Sample(
        lists=lists,
        seed=seed,
        queries=picks.queries,
        unjudged=picks.queries - picks.wanted if qrels is not None else 0,
        absent=max(0, len(qrels) - picks.wanted) if qrels is not None else 0,
        near=near,
        ordered_by=_ordered_by(source.columns.candidate, lists.documents),
    )


class _Judged:
    """Which queries are judged, asked for each query of the input in turn."""

    def __init__(self, qrels: Qrels) -> None:
        self._qrels, self._others = qrels, Others(qrels)
        self._seen: set[str] = set()
        self._waiting: list[str] = []

    def __call__(self, query_id: str) -> bool:
        if query_id in self._qrels:
            self._seen.add(query_id)
            return True
        self._waiting.append(query_id)
        if len(self._waiting) == _AT_ONCE:
            self._note()
        return False

    def near(self) -> tuple[NearIds, ...]:
        """Judged queries that the input does not have, and queries of it that look like them."""
        self._note()
        return self._others.near(sorted(self._qrels.keys() - self._seen))

    def _note(self) -> None:
        self._others.add(self._waiting)
        self._waiting = []


def _ordered_by(columns: Mapping[str, str], documents: pa.Table) -> str:
    """As :mod:`pipeline.candidates.grouping` decides it, list by list, for most of them."""
    if schema.FIRST_STAGE_RANK in columns:
        return schema.FIRST_STAGE_RANK
    scores = documents.column(schema.FIRST_STAGE_SCORE)
    return schema.FIRST_STAGE_SCORE if scores.null_count < len(scores) else "rows"
