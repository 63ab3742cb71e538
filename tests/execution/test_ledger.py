"""A query in two units is found, and named, however many units are looked at together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import JobConfig
from pipeline.errors import InputContractError
from pipeline.execution.ledger import Ledger
from pipeline.execution.preparation import prepare
from pipeline.execution.runs.unit_counts import UnitCounts, query_hashes
from pipeline.outputs.sealed import sealed_bytes
from tests.execution.drivers import lexical_job
from tests.makers import long_table, write

REPEATED = "f" * 24
HASH = query_hashes(pa.array(["q7"]))


def counts(unit: str, hashes: np.ndarray) -> UnitCounts:
    return UnitCounts(unit=unit, queries=len(hashes), documents=9, tokens=9, query_hashes=hashes)


@pytest.mark.parametrize("queries", [0, 40, 100_000])
def test_the_unit_that_repeats_a_query_is_named(tmp_path: Path, queries: int) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=8), row_group_size=20)
    prepared = prepare(JobConfig.model_validate(lexical_job(path, str(tmp_path / "out"))))
    stored = Path(prepared.folder.ranked(REPEATED))
    stored.parent.mkdir(parents=True)
    stored.write_bytes(sealed_bytes(pa.table({"query_id": ["q6", "q7"]}), {}))
    ledger = Ledger(prepared)
    rng = np.random.default_rng(0)
    ledger.add(counts("0", np.append(HASH, rng.integers(0, 1 << 63, queries, np.uint64))))
    with pytest.raises(InputContractError, match=r"over several units.*'q7'"):
        for unit in ("1", REPEATED, "2", "3"):
            fresh = rng.integers(0, 1 << 63, 3, np.uint64)
            ledger.add(counts(unit, np.append(fresh, HASH) if unit == REPEATED else fresh))
        ledger.refuse_repeated_queries()
    assert (REPEATED in ledger.units, "3" in ledger.units) == (True, queries == 100_000)
