"""How old a score may get: every query comes due once in so many nights, about as many each."""

from __future__ import annotations

import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.hashes import Hashes

#: What a day of Arrow's ``date32``, counted from 1970-01-01, is short of ``date.toordinal()``.
_EPOCH: Final = datetime.date(1970, 1, 1).toordinal()


def expired(
    queries: Hashes, scored_at: pa.Array, *, date: datetime.date, max_age_days: int | None
) -> npt.NDArray[np.bool_]:
    """Whether scores have to be made anew because of their age.

    A query is due on the days ``d`` with ``(d.toordinal() + hash) % max_age_days == 0``, and a
    score is too old once such a day lies in ``(scored_at, date]``. So no score is used that is
    ``max_age_days`` old, and no night has to score everything again. The number of due days in
    ``(a, b]`` is ``(b + hash) // n - (a + hash) // n``.

    Args:
        queries: uint64 [N], hash of the query of each score.
        scored_at: date32 [N], when a model gave it; none is null.
        date: the night that scores are wanted for.
        max_age_days: None: scores never get too old.

    Returns:
        bool [N].
    """
    if max_age_days is None:
        return np.zeros(len(queries), dtype=bool)
    shift = (queries % np.uint64(max_age_days)).astype(np.int64)
    before = scored_at.cast(pa.int32()).to_numpy(zero_copy_only=False).astype(np.int64) + _EPOCH
    return np.asarray((date.toordinal() + shift) // max_age_days > (before + shift) // max_age_days)
