"""Does an engine of quantised products order documents as one in the reference precision does?

What quantisation does to a ranking depends on the model and on the texts, so it is measured where
it is used: the first documents that an engine scores are scored once more in float32 (on a GPU in
bfloat16), and the engine is refused where the two name other documents as best. Lists count by
their best ten, short ones by their better half, for all of a list is always among all of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from pipeline.engine.scoring import document_scores
from pipeline.errors import ConfigurationError
from pipeline.ranking.agreement import kendall_tau

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists
    from pipeline.engine.engine import Engine
    from pipeline.engine.rounds import Readouts
    from pipeline.sequences.arrays import Floats
    from pipeline.sequences.sequences import Sequences

#: Documents that are compared. Twenty best of two lists of a hundred tell 0.9 from 0.8, and a base
#: model scores them in 15 seconds on one core.
SAMPLE: Final = 200

#: Best documents of a list that are compared.
_BEST: Final = 10


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """How far an engine agrees with the reference so far.

    Attributes:
        documents: that both scored.
        best: the reference's best documents of all lists.
        shared: how many of these the engine names as well.
        most: the largest difference of two scores.
        tau: sum over :attr:`lists` of Kendall's tau-b.
        lists: with two documents or more, for one has no order.
    """

    documents: int = 0
    best: int = 0
    shared: int = 0
    most: float = 0.0
    tau: float = 0.0
    lists: int = 0

    def add(self, scores: Floats, reference: Floats) -> Sampled:
        """With one more list of scores [n]; documents without a score in either are left out."""
        both = np.isfinite(scores) & np.isfinite(reference)
        ours, theirs = scores[both], reference[both]
        if len(ours) < 2:
            return replace(self, documents=self.documents + len(ours))
        count = min(_BEST, (len(ours) + 1) // 2)
        named = [set(np.argsort(-each, kind="stable")[:count].tolist()) for each in (ours, theirs)]
        apart = float(np.abs(ours.astype(np.float64) - theirs).max())
        return Sampled(
            documents=self.documents + len(ours),
            best=self.best + count,
            shared=self.shared + len(named[0] & named[1]),
            most=max(self.most, apart),
            tau=self.tau + kendall_tau(ours, theirs),
            lists=self.lists + 1,
        )

    def plain(self) -> dict[str, float]:
        """Numbers for a report: ``overlap`` and ``tau`` are averages, 1 where nothing tells."""
        return {
            "documents": self.documents,
            "most": self.most,
            "overlap": self.shared / self.best if self.best else 1.0,
            "tau": self.tau / self.lists if self.lists else 1.0,
        }


class AgreementCheck:
    """Compares the first documents that an engine scores, and refuses it where it is too far off.

    Attributes:
        precision: of the engine, by name.
        reference_precision: of what it is compared with.
        found: so far.
    """

    def __init__(
        self,
        *,
        precision: str,
        reference_precision: str,
        reference: Callable[[], Engine],
        min_overlap: float,
    ) -> None:
        """Load nothing yet.

        Args:
            precision: of the engine, by name.
            reference_precision: of what it is compared with.
            reference: makes an engine of the same model in that precision; called when the first
                document is there, and its result is let go with the last of the sample.
            min_overlap: share of the best documents below which the engine is refused.
        """
        self.precision, self.reference_precision = precision, reference_precision
        self.min_overlap = min_overlap
        self.found = Sampled()
        self._make_reference: Callable[[], Engine] | None = reference
        self._reference: Engine | None = None
        self._one_at_a_time = threading.Lock()

    def check(
        self, engine: Engine, lists: CandidateLists, sequences: Sequences, readouts: Readouts
    ) -> dict[str, float] | None:
        """Compare documents of a unit that was scored, until there were :data:`SAMPLE` of them.

        Args:
            engine: the one that scored it.
            lists: what it was given.
            sequences: what :meth:`Engine.run` returned.
            readouts: the same.

        Returns:
            How far the two agree on all documents so far; None where nothing was compared.

        Raises:
            ConfigurationError: they name too few of the same documents as best.
        """
        with self._one_at_a_time:  # a replica on a GPU scores two units at a time
            if self._make_reference is None or lists.documents.num_rows == 0:
                return None
            return self._compare(engine, lists, sequences, readouts)

    def _compare(
        self, engine: Engine, lists: CandidateLists, sequences: Sequences, readouts: Readouts
    ) -> dict[str, float]:
        left = SAMPLE - self.found.documents
        part = first_lists(lists, left, whole=not engine.reranker.pointwise)
        scores, _ = document_scores(engine.reranker, lists, sequences, readouts)
        again = self._score_again(part)
        for first, last in zip(part.offsets[:-1].tolist(), part.offsets[1:].tolist(), strict=True):
            self.found = self.found.add(scores[first:last], again[first:last])
        if self.found.documents >= SAMPLE:
            self._make_reference = self._reference = None
        self._refuse()
        return self.found.plain()

    def _score_again(self, lists: CandidateLists) -> Floats:
        if self._reference is None:
            assert self._make_reference is not None
            self._reference = self._make_reference()
        reranker = self._reference.reranker
        sequences, readouts = self._reference.run(lists, reranker.encode(lists))
        return document_scores(reranker, lists, sequences, readouts)[0]

    def _refuse(self) -> None:
        found = self.found.plain()
        if found["overlap"] < self.min_overlap:
            raise ConfigurationError(
                f"engine.dtype: of the {self.found.best} best of {self.found.documents} documents "
                f"in {self.reference_precision}, {self.precision} names {found['overlap']:.1%} "
                f"(largest difference of two scores {found['most']:.2g}, Kendall's tau "
                f"{found['tau']:.3f}), less than engine.min_overlap = {self.min_overlap:g}. Take "
                f"{self.reference_precision}, or lower engine.min_overlap if that is good enough"
            )


def first_lists(lists: CandidateLists, documents: int, *, whole: bool) -> CandidateLists:
    """The first lists with about as many documents in all.

    Args:
        lists: of a unit.
        documents: how many.
        whole: whether lists are taken whole, the first one however long it is; else the last one
            is cut where the documents end.
    """
    enough = int(np.searchsorted(lists.offsets, documents))
    count = max(1, min(enough, len(lists)))
    if whole and count > 1 and lists.offsets[count] > documents:
        count -= 1
    stop = int(lists.offsets[count]) if whole else min(int(lists.offsets[count]), documents)
    offsets: npt.NDArray[np.int64] = np.minimum(lists.offsets[: count + 1], stop)
    return replace(
        lists,
        queries=lists.queries.slice(0, count),
        offsets=offsets,
        documents=lists.documents.slice(0, stop),
    )
