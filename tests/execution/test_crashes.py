"""The driver is killed at every named step, and a new one finishes: the same bytes every time."""

from __future__ import annotations

import ast
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from pipeline import failpoints
from tests.execution.drivers import KILLED, ROOT, Drivers, lexical_job
from tests.execution.oracle import files_below, kept, problems, published
from tests.makers import long_table, write

HOOKS = ("tests.execution.drivers:skip_probe",)


def table_with_bad_rows() -> pa.Table:
    """Lists of which some hold a candidate without text."""
    table = long_table(queries=24)
    texts = [None if i % 17 == 3 else text for i, text in enumerate(table["text"].to_pylist())]
    return table.set_column(3, "text", pa.array(texts, pa.string()))


def test_a_crash_at_any_step_is_finished_by_the_next_driver(
    drivers: Drivers, s3_folder: str, tmp_path: Path
) -> None:
    table = table_with_bad_rows()
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    hits = tmp_path / "hits.json"
    clean = lexical_job(path, f"{s3_folder}/clean")
    clean["output"]["formats"] = ["trec"]
    counting = (*HOOKS, "tests.execution.drivers:count_failpoints")
    environment = {"HITS": str(hits)}
    assert drivers.run(clean, at="none:1=raise", hooks=counting, environment=environment) == 0
    reference = kept(files_below(f"{s3_folder}/clean"))
    assert not problems(f"{s3_folder}/clean", table, reference)
    counts: dict[str, int] = json.loads(hits.read_text())
    assert set(counts) == set(failpoints.NAMES)
    points = [
        (name, hit)
        for name in failpoints.NAMES
        for hit in sorted({1, (counts[name] + 1) // 2, counts[name]})
    ]

    def crash_and_finish(point: tuple[str, int]) -> list[str]:
        name, hit = point
        output = f"{s3_folder}/{name}-{hit}"
        job = lexical_job(path, output)
        job["output"]["formats"] = ["trec"]
        crashed = drivers.start(job, at=f"{name}:{hit}=crash", hooks=HOOKS)
        if crashed.wait() != KILLED:
            return [f"{point} was not reached: {crashed.errors}"]
        visible = published(output)
        late = failpoints.NAMES.index(name) >= failpoints.NAMES.index("pointer.moved")
        late |= (name, hit) == ("lease.fenced", 2)  # by the report, which is completed last
        wrong = [] if (visible is not None) == late else [f"{point}: published {visible}"]
        second = drivers.start(job, hooks=HOOKS)
        if second.wait() != 0:
            return [*wrong, f"{point}: {second.errors}"]
        return wrong + [f"{point}: {problem}" for problem in problems(output, table, reference)]

    with ThreadPoolExecutor(3) as pool:
        wrong = [problem for found in pool.map(crash_and_finish, points) for problem in found]
    assert not wrong, "\n".join(wrong)
    assert len(points) > 30


def test_every_step_has_a_name_in_the_list_and_every_name_a_step() -> None:
    used = {
        node.args[0].value
        for path in (ROOT / "pipeline").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "failpoints.reached"
        and isinstance(node.args[0], ast.Constant)
    }
    passed_on = {
        "quarantine.written",
        "part.written",
        "format.written",
        "unit.written",
    }  # by unit_files
    others = [steps for name, steps in vars(failpoints).items() if name.startswith("OF_")]
    assert used | passed_on == {*failpoints.NAMES, *(name for names in others for name in names)}
