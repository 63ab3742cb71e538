"""All surveys of a set in the driver: hashes and counts, not texts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from pipeline.config import DistillConfig
from pipeline.distillation.given_files import GivenFiles
from pipeline.distillation.rules import reasons
from pipeline.distillation.rules.near_duplicates import Sets
from pipeline.distillation.rules.statistics import added
from pipeline.distillation.sets.folder import SURVEY, SetFolder
from pipeline.distillation.survey import KEY, OUTSIDE, SHINGLES, STATISTICS
from pipeline.hashes import Hashes
from pipeline.ranking.qrels import read_qrels


@dataclass
class Surveys:
    """What the surveys say, in the order of units and queries; shingles are read when asked for.

    Attributes:
        folder: of the set.
        sizes: queries of each unit.
        keys: uint64 [N], hash of each query's normalised text.
        statistics: added up.
        moments: for each teacher those of every unit.
        samples: for each teacher scores, relevance and weights of the logistic fit.
        reasons: queries left out for their id, by place: a row of the match table.
        outside: ids of judged positives in no list whose text is wanted.
        outside_pairs: how many (query, document) pairs they are.
    """

    folder: SetFolder
    sizes: list[int] = field(default_factory=list)
    keys: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    statistics: dict[str, Any] = field(default_factory=dict)
    moments: list[list[dict[str, Any]]] = field(default_factory=list)
    samples: list[list[npt.NDArray[np.float64]]] = field(default_factory=list)
    reasons: dict[int, dict[str, Any]] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    outside_pairs: int = 0

    @classmethod
    def read(
        cls, config: DistillConfig, folder: SetFolder, units: int, given: GivenFiles
    ) -> Surveys:
        """Read the survey of every unit, one after the other."""
        surveys = cls(folder, moments=[[] for _ in config.teachers])
        surveys.samples = [[] for _ in config.teachers]
        judged = _evaluation_ids(config, given)
        keys = [surveys.keys]
        for place in range(units):
            path = folder.step(SURVEY, place)
            rows = folder.read_table(path, columns=(schema.QUERY_ID, KEY, OUTSIDE))
            surveys._look_for_ids(rows[schema.QUERY_ID].to_pylist(), judged)
            surveys.sizes.append(rows.num_rows)
            keys.append(rows[KEY].to_numpy())
            ids = rows[OUTSIDE].combine_chunks().flatten().to_pylist()
            surveys.outside_pairs += len(ids)
            if config.positives.corpus is not None:
                surveys.outside.update(ids)
            surveys._add(json.loads(rows.schema.metadata[STATISTICS.encode()]))
        surveys.keys = np.concatenate(keys)
        return surveys

    def _look_for_ids(self, query_ids: list[str | None], judged: dict[str, str]) -> None:
        first = sum(self.sizes)
        for place, query_id in enumerate(query_ids if judged else (), start=first):
            if query_id in judged:
                self.reasons[place] = {
                    schema.REASON: reasons.EVALUATION_QUERY_ID,
                    "file": judged[query_id],
                    "evaluation_query_id": query_id,
                }

    def _add(self, statistics: dict[str, Any]) -> None:
        for total, part in zip(self.moments, statistics.pop("moments"), strict=True):
            total.append(part)
        for number, sample in enumerate(statistics.pop("calibration")):
            columns = (sample["scores"], sample["relevant"], sample["weights"])
            self.samples[number].append(np.array(columns, dtype=np.float64))
        self.statistics = added(self.statistics, statistics)

    def shingles(self, wanted: npt.NDArray[np.bool_]) -> Sets:
        """The shingle sets of some queries, in order."""
        lengths, elements, first = [np.zeros(0, np.int64)], [np.zeros(0, np.uint32)], 0
        for place, size in enumerate(self.sizes):
            kept = pa.array(wanted[first : first + size])
            first += size
            table = self.folder.read_table(self.folder.step(SURVEY, place), columns=(SHINGLES,))
            column = table[SHINGLES].combine_chunks().filter(kept)
            lengths.append(np.diff(np.asarray(column.offsets)).astype(np.int64))
            elements.append(np.asarray(column.flatten(), dtype=np.uint32))
        offsets = np.append(0, np.cumsum(np.concatenate(lengths)))
        return Sets(offsets=offsets, elements=np.concatenate(elements))


def _evaluation_ids(config: DistillConfig, given: GivenFiles) -> dict[str, str]:
    """Ids of judged evaluation queries, each with the first file that judges it."""
    found: dict[str, str] = {}
    for path in config.decontaminate.qrels:
        for query_id in read_qrels(given.read(path), path):
            found.setdefault(query_id, path)
    return found
