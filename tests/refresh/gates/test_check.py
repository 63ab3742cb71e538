"""Gates of published runs, judged queries among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.gates import GATES, GatesConfig
from pipeline.errors import DamagedRunError, InputContractError, NotFoundError
from pipeline.execution.runs.ranked_reader import read_ranked
from pipeline.ranking.evaluation import evaluate
from pipeline.ranking.qrels import read_qrels
from pipeline.ranking.runs import ranked_run
from pipeline.refresh.changes.making import make_changes
from pipeline.refresh.gates.check import measure
from pipeline.refresh.gates.judgements import Judgements
from tests.makers import long_table
from tests.refresh.changes.runs import job, next_night, run_of


def test_runs_are_measured(tmp_path: Path) -> None:
    table = long_table(queries=8)
    before, after = run_of(tmp_path, table), run_of(tmp_path, next_night(table))
    config = job(tmp_path, table)
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("q003 0 d0 1\nq003 0 d1 2\nq005 0 d0 1\nunknown 0 d0 1\n")
    gates = GatesConfig(min_ndcg=0.1, qrels=str(qrels), max_quarantine_rate=0.0, top_k=5)
    changes = make_changes(str(tmp_path / "out"), before, after, config)
    judgements = Judgements.open(gates)
    found = {
        one.name: one
        for one in measure(gates, changes, before, after, config, judgements=judgements)
    }
    assert set(found) == set(GATES)
    assert found["min_query_coverage"].value == 7 / 8
    assert not found["max_quarantine_rate"].passed
    assert "null_text" in found["max_quarantine_rate"].examples[0]
    run = ranked_run(read_ranked(after), "today")
    whole = evaluate(run, read_qrels(qrels.read_bytes(), "qrels"), ["nDCG@5"])
    assert found["min_ndcg"].value == whole.means["nDCG@5"]

    first = make_changes(str(tmp_path / "out"), None, after, config)
    names = [one.name for one in measure(GatesConfig(), first, None, after, config) if one.value]
    assert names == ["max_quarantine_rate"]

    file = next(Path(after.path, "ranked").iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedRunError, match=file.name):
        measure(gates, changes, before, after, config, judgements=judgements)


def test_judgements_are_read_before_a_night(tmp_path: Path) -> None:
    assert Judgements.open(GatesConfig()) is None
    with pytest.raises(NotFoundError):
        Judgements.open(GatesConfig(min_ndcg=0.1, qrels=str(tmp_path / "none.txt")))
    (tmp_path / "qrels.txt").write_text("not judgements\n")
    with pytest.raises(InputContractError):
        Judgements.open(GatesConfig(min_ndcg=0.1, qrels=str(tmp_path / "qrels.txt")))
