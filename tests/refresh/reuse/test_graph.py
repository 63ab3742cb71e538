"""The Ray Data graph makes the files that one process makes, byte by byte."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from pipeline.refresh.reuse.work import Sizes
from tests.refresh.reuse.nights import (
    FIRST,
    Query,
    job,
    prepared,
    published,
    put,
    ran,
    table_of_night,
)

#: Three parts.
SIZES = Sizes(piece=16, part=32, here=0)


@pytest.mark.usefixtures("ray_cluster", "believed_store")
def test_ray_makes_the_files_that_one_process_makes(tmp_path: Path) -> None:
    first = [Query(n, 0, tuple((d, f"salt {n} {d}") for d in range(5))) for n in range(20)]
    second = [Query(n, int(n % 3 == 0), first[n].documents[n % 2 :]) for n in range(2, 18)]
    new = [Query(n, 0, ((0, "light"),)) for n in range(50, 70)]  # their parts meet nothing
    one = put(tmp_path / "first", tuple(first), text_ids=False)
    two = put(tmp_path / "second", (*second, *new))
    outcome = ran(prepared(job(one, tmp_path / "out"), FIRST, None))
    date = FIRST + datetime.timedelta(days=1)
    found = {}
    for mode in ("in_process", "cluster"):
        config = job(two, tmp_path / mode, ray={"mode": mode, "read_cpus": 1})
        table = table_of_night(config, date, published(outcome), max_age_days=4, sizes=SIZES)
        found[mode] = {path.name: path.read_bytes() for path in Path(table.path).iterdir()}
    assert found["cluster"] == found["in_process"]
    assert len(found["cluster"]) == 7
    for name, count in (("reuse", 0), ("rescore", 0), ("new", 0), ("gone", 0), ("expired", 0)):
        assert table.counts["documents"][name] > count
