"""Columns beside a unit's scores: what fusion and calibration make of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.config.fusion import FusionConfig
from pipeline.ranking.calibration import Calibration, calibrated
from pipeline.ranking.fusion import fused_ranks, fused_scores, lists_of, numbers


def with_fusion(ranked: pa.Table, config: FusionConfig) -> pa.Table:
    """The ranked rows with ``fused_score`` (null without a score) and ``fused_rank``.

    Args:
        ranked: rows of :class:`pipeline.outputs.ranked_unit.RankedUnit`, by list and rank.
        config: how.
    """
    lists = lists_of(ranked)
    fused = fused_scores(lists, config)
    score = pa.array(fused, pa.float64(), mask=np.isnan(fused))
    ranks = pa.array(fused_ranks(lists, fused), pa.int32())
    table = ranked.append_column(pa.field(schema.FUSED_SCORE, pa.float64()), score)
    return table.append_column(pa.field(schema.FUSED_RANK, pa.int32(), nullable=False), ranks)


def with_calibration(ranked: pa.Table, calibration: Calibration) -> pa.Table:
    """The ranked rows with ``calibrated_score``; null without a score."""
    chances = calibrated(calibration, numbers(ranked, schema.SCORE))
    column = pa.array(chances, pa.float32(), mask=np.isnan(chances))
    return ranked.append_column(pa.field(schema.CALIBRATED_SCORE, pa.float32()), column)
