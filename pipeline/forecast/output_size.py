"""How large a run's files get: those of a sample are made, with scores that do not compress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.config import OutputConfig
from pipeline.outputs.base import Sink
from pipeline.outputs.finding import find_all
from pipeline.outputs.parquet import Parquet
from pipeline.outputs.ranked_unit import rank_unit

#: Bytes of a unit's Parquet file that say what it is, beside those counted here: model, settings,
#: counts, the seal. Measured on runs of the test suite.
_DESCRIBED: Final = 2_600

#: A hash per query stands there, too, as base64.
_QUERY_HASH: Final = 11

_ABOUT: Final = {"run_id": "0" * 16, "unit": "0" * 24, "model": "model", "score_scale": "logit"}


class OutputSize:
    """Makes the files that a run would write, and weighs them.

    Args:
        output: the section of the job; columns that it adds by itself (fused scores, tokens) are
            left out, and so are ``quarantine/`` and the run's own records.
    """

    def __init__(self, output: OutputConfig) -> None:
        self._columns = output.columns
        self._sinks: Sequence[Sink] = [Parquet(), *find_all(output.formats).values()]

    def of_rows(self, lists: CandidateLists) -> int:
        """Bytes that these lists take in the files of a unit.

        Raises:
            InputContractError: an id cannot be written in one of the formats.
        """
        return self._files(lists) - self._files(_none_of(lists)) + _QUERY_HASH * len(lists)

    def of_unit(self, lists: CandidateLists) -> int:
        """Bytes of a unit's files besides their rows, for lists with columns such as these."""
        return self._files(_none_of(lists)) + _DESCRIBED

    def _files(self, lists: CandidateLists) -> int:
        """Bytes of the files of one unit with these lists.

        Raises:
            InputContractError: an id cannot be written in one of the formats.
        """
        scores = np.random.default_rng(0).standard_normal(lists.documents.num_rows, np.float32)
        reasons = lists.documents.column(schema.REASON)
        scores[pc.is_valid(reasons).to_numpy(zero_copy_only=False)] = np.nan
        rows = rank_unit(_ABOUT["unit"], lists, scores, columns=self._columns).ranked
        return sum(len(sink.file(sink.held(rows), _ABOUT)) for sink in self._sinks)


def _none_of(lists: CandidateLists) -> CandidateLists:
    return CandidateLists(
        queries=lists.queries.slice(0, 0),
        offsets=lists.offsets[:1],
        documents=lists.documents.slice(0, 0),
    )
