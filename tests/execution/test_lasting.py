"""What lies in the folder of a run: damage, duplicates, a full disk, parts of a giant unit."""

from __future__ import annotations

import io
import json
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.execution.runs.ranked_reader import read_ranked
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.outputs.sealed import is_whole, sealed_bytes
from pipeline.storage.store import read_versioned, write_whole
from tests.execution.drivers import KILLED, Drivers, lexical_job
from tests.execution.oracle import files_below, kept, problems, published, report
from tests.makers import long_table, write

TABLE = long_table(queries=16)
HOOKS = ("tests.execution.drivers:skip_probe",)


@given(
    st.lists(st.tuples(st.text(max_size=5), st.integers(-9, 9)), max_size=30),
    st.integers(0, 10**9),
)
def test_no_flipped_bit_escapes_the_seal(rows: list[tuple[str, int]], place: int) -> None:
    table = pa.table(
        {
            "a": pa.array([a for a, _ in rows], pa.string()),
            "b": pa.array([b for _, b in rows], pa.int64()),
        }
    )
    data = sealed_bytes(table, {"unit": "x"})
    assert is_whole(data)
    assert data == sealed_bytes(table, {"unit": "x"})
    assert pq.read_table(io.BytesIO(data), page_checksum_verification=True).equals(table)
    flipped = bytearray(data)
    flipped[place // 8 % len(data)] ^= 1 << place % 8
    assert not is_whole(bytes(flipped))
    assert not is_whole(data[: place % len(data)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "in.parquet", TABLE, row_group_size=20)


def first_unit(output: str) -> str:
    """Path of the file that closes the first committed unit."""
    names = [n for n in files_below(output) if "/ranked/" in n and ".part-" not in n]
    return f"{output}/{min(names)}"


@pytest.mark.parametrize("place", [100, -60, -1])
def test_a_damaged_file_is_noticed_before_publication_and_repaired(
    drivers: Drivers, path: Path, s3_folder: str, tmp_path: Path, place: int
) -> None:
    clean = str(tmp_path / "clean")
    assert drivers.run(lexical_job(path, clean)) == 0
    driver = drivers.start(lexical_job(path, s3_folder), at="unit.written:2=pause", hooks=HOOKS)
    driver.wait_until_stopped()
    unit = first_unit(s3_folder)
    found = read_versioned(unit)
    assert found is not None
    damaged = bytearray(found[0])
    damaged[place] ^= 4
    write_whole(unit, bytes(damaged))
    driver.send(signal.SIGCONT)
    assert driver.wait() == 0, driver.errors
    assert "damaged" in driver.errors
    assert not problems(s3_folder, TABLE, kept(files_below(clean)))
    assert len(report(s3_folder)["units_repaired"]) == 1


def test_a_damaged_footer_is_noticed_by_the_next_driver(
    drivers: Drivers, path: Path, tmp_path: Path
) -> None:
    clean, output = str(tmp_path / "clean"), str(tmp_path / "out")
    assert drivers.run(lexical_job(path, clean)) == 0
    assert drivers.run(lexical_job(path, output), at="units.verified:1=crash") == KILLED
    unit = Path(first_unit(output))
    unit.write_bytes(unit.read_bytes()[:-9])
    assert drivers.run(lexical_job(path, output)) == 0
    assert not problems(output, TABLE, kept(files_below(clean)))


def test_other_bytes_for_a_unit_raise_the_alarm_and_the_first_stand(
    drivers: Drivers, path: Path, tmp_path: Path
) -> None:
    output = str(tmp_path / "out")
    driver = drivers.start(
        lexical_job(path, output, output={"path": output}), at="unit.ready:1=pause"
    )
    driver.wait_until_stopped()
    clean = str(tmp_path / "clean")
    assert drivers.run(lexical_job(path, clean, output={"path": clean})) == 0
    [run] = {name.partition("/")[0] for name in files_below(clean) if "/" in name}
    units = pq.read_table(f"{clean}/{run}/plan.parquet")["unit"].to_pylist()
    name = f"{run}/ranked/unit-{units[0]}.parquet"
    table = pq.read_table(f"{clean}/{name}")
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    scores = pa.array([score + 1 for score in table["score"].to_pylist()], pa.float32())
    other = sealed_bytes(table.set_column(3, table.field("score"), scores), metadata)
    write_whole(f"{output}/{name}", other)
    driver.send(signal.SIGCONT)
    assert driver.wait() == 0, driver.errors
    assert f"NOT DETERMINISTIC: unit {units[0]}" in driver.errors
    assert report(output)["units_not_deterministic"] == [units[0]]
    assert files_below(output)[name] == other


@pytest.mark.parametrize("kind", [".part-0001.", "/quarantine/"])
def test_files_of_two_scorings_are_never_one_unit(
    drivers: Drivers, tmp_path: Path, kind: str
) -> None:
    """A worker that was lost with its node has left a file; scored again, it has other bytes."""
    texts = [None if row == 3 else text for row, text in enumerate(TABLE["text"].to_pylist())]
    table = TABLE.set_column(TABLE.column_names.index("text"), "text", pa.array(texts))
    path = write(tmp_path / "in.parquet", table, row_group_size=20)
    clean, output = str(tmp_path / "clean"), str(tmp_path / "out")
    assert drivers.run(lexical_job(path, clean)) == 0
    before = files_below(clean)
    name = min(name for name in before if kind in name)
    driver = drivers.start(lexical_job(path, output), at="unit.ready:1=pause")
    driver.wait_until_stopped()
    left = pq.read_table(f"{clean}/{name}")
    metadata = {k.decode(): v.decode() for k, v in left.schema.metadata.items()}
    ids = pa.array([f"{one}?" for one in left["doc_id"].to_pylist()])
    other = left.set_column(left.column_names.index("doc_id"), "doc_id", ids)
    write_whole(f"{output}/{name}", sealed_bytes(other, metadata))
    driver.send(signal.SIGCONT)
    assert driver.wait() == 0, driver.errors
    assert "of another scoring than the file that closes its unit" in driver.errors
    assert not problems(output, table, kept(before))


def test_a_full_disk_leaves_no_part_of_a_file(drivers: Drivers, path: Path, tmp_path: Path) -> None:
    clean, output = str(tmp_path / "clean"), str(tmp_path / "out")
    job = lexical_job(path, output, output={"path": output})
    full = drivers.start(job, hooks=("tests.execution.drivers:small_disk",))
    assert full.wait() == 5, full.errors
    assert "File too large" in full.errors
    assert not [name for name in files_below(output) if "/ranked/" in name]
    assert published(output) is None
    assert drivers.run(job) == 0
    assert drivers.run(lexical_job(path, clean, output={"path": clean})) == 0
    assert not problems(output, TABLE, kept(files_below(clean)))


def test_one_giant_query_is_written_in_parts_that_any_reader_reads(
    drivers: Drivers, tmp_path: Path
) -> None:
    table = pa.table(
        {
            "query_id": ["giant"] * 3000,
            "query": ["ray data"] * 3000,
            "doc_id": [f"d{i:05d}" for i in range(3000)],
            "text": [f"ray number {i}" for i in range(3000)],
        }
    )
    path = write(tmp_path / "giant.parquet", table)
    output = str(tmp_path / "out")
    sizes = {"output": {"path": output, "file_mib": 0.02}, "units": {"documents": 5000}}
    job = lexical_job(path, output, **sizes)
    assert drivers.run(job, at="part.written:3=crash") == KILLED
    assert drivers.run(job) == 0
    assert not problems(output, table, kept(files_below(output)))
    [folder] = [place for place in Path(output).iterdir() if place.is_dir()]
    assert len(list((folder / "ranked").iterdir())) > 5
    read = pq.ParquetDataset(folder / "ranked").read()
    assert sorted(read["rank"].to_pylist()) == list(range(1, 3001))
    assert read_ranked(RunFolder(str(folder)))["rank"].to_pylist() == list(range(1, 3001))
    [unit] = json.loads((folder / "manifest.json").read_text())["units"]
    assert sum(file["rows"] for file in unit["files"]) == 3000
