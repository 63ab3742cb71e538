from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline import load
from pipeline.candidates.inputs import open_input
from pipeline.candidates.reading import read_lists
from pipeline.comparison.orders import FIRST_STAGE, Orders
from pipeline.config import InputConfig
from pipeline.execution.outcome import Outcome
from pipeline.execution.runs.ranked_reader import read_ranked
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.ranking.runs import first_stage_run, named_once, ranked_run
from tests.makers import long_table, write


def test_orders_are_those_that_a_run_writes(
    rerank_in_process: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Candidates without text, without an id, and twice in a list among them."""
    table = long_table(queries=20)
    texts, ids = table["text"].to_pylist(), table["doc_id"].to_pylist()
    texts[3], ids[4], ids[6] = None, None, ids[5]
    table = table.set_column(2, "doc_id", pa.array(ids)).set_column(3, "text", pa.array(texts))
    path = write(tmp_path / "in.parquet", table)
    done = rerank_in_process(path, quarantine={"max_error_rate": 1})
    written = named_once(read_ranked(RunFolder(done.folder)))

    source = open_input(InputConfig(path=(str(path),)))
    lists = read_lists(source, 0, source.rows)
    scores = load("lexical", device="cpu").score_lists(lists)
    _, shown = lists.scoreable()
    orders = Orders.of(lists, {"lexical": scores[shown]})
    assert orders.run("lexical").rankings == ranked_run(written, "x").rankings
    assert orders.run(FIRST_STAGE).rankings == first_stage_run(written, "x").rankings
    same = orders.agreement("lexical", "lexical")
    assert (same.overlap, same.tau) == (1, 1)
    assert -1 <= orders.agreement(FIRST_STAGE, "lexical").tau < 1


def test_documents_without_a_score_come_last(tmp_path: Path) -> None:
    source = open_input(InputConfig(path=(str(write(tmp_path / "a.parquet", long_table())),)))
    lists = read_lists(source, 0, source.rows)
    scores = np.arange(lists.documents.num_rows, dtype=np.float32)
    scores[lists.offsets[1] - 1] = np.nan
    ranks = Orders.of(lists, {"m": scores}).ranks["m"]
    first = int(lists.offsets[1])
    assert ranks[first - 1] == first
