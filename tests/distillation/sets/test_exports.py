"""Exports of a finished set: what lies there, resumed, made again, and each document once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.config import RayConfig
from pipeline.distillation.formats.support.finding import names
from pipeline.distillation.rules import canonical
from pipeline.distillation.sets.exports import Exported, export_set
from pipeline.distillation.sets.folder import SetFolder
from pipeline.errors import ConfigurationError, DamagedSetError, NotFoundError, RunFailedError
from tests.distillation.formats.makers import DESCRIPTION, item, part, publish_set, query

IN_PROCESS = RayConfig(mode="in_process")


def queries(first: int, count: int) -> list[dict[str, Any]]:
    """Queries that share documents with those before and after them."""
    return [
        query(
            f"q{n}",
            [item(f"p{n}", 2.0)],
            [item(f"n{n}", 1.0), item(f"n{n + 1}", 0.5), item("everywhere", 0.25)],
        )
        for n in range(first, first + count)
    ]


def write_set(folder: Path, parts: int = 3) -> Path:
    """A finished set of ``parts`` units; every third has nothing in dev."""
    for place in range(parts):
        for split in canonical.SPLITS:
            if split == canonical.DEV and place % 3 == 2:
                continue
            rows = part(*queries(100 * place + 50 * (split == canonical.DEV), 4))
            path = Path(canonical.part_path(str(folder), split, place))
            path.parent.mkdir(parents=True, exist_ok=True)
            description = DESCRIPTION | {"split": split}
            path.write_bytes(canonical.part_bytes(rows, description))
    return publish_set(folder)


@pytest.fixture
def training_set(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


def export(folder: Path, name: str, **options: Any) -> Exported:
    return export_set(str(folder), name, options, ray=IN_PROCESS)


def digests(folder: str | Path) -> dict[str, str]:
    """Content of every file of a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", names())
def test_every_format_exports_a_set(training_set: Path, name: str) -> None:
    done = export(training_set, name)
    assert not done.already_finished
    assert done.parts_run == 5
    assert done.summary["splits"]["train"]["queries"] == 12
    assert done.summary["splits"]["dev"]["queries"] == 8
    written = json.loads((Path(done.folder) / "export.json").read_text())
    assert done.summary.items() <= written.items()
    listed = {one["key"] for one in written["files"]}
    assert listed == {
        key
        for key in digests(done.folder)
        if key not in ("export.json", "format.json") and not key.startswith("work/")
    }
    assert (Path(done.folder) / "README.md").read_text().count("| `") >= 3


@pytest.mark.parametrize("name", ["tevatron_distill", "id_triple", "flag_embedding"])
def test_an_export_made_again_has_the_same_bytes(tmp_path: Path, name: str) -> None:
    first, second = (export(write_set(tmp_path / one), name).folder for one in ("a", "b"))
    assert digests(first) == digests(second)


def test_a_finished_export_is_noticed(training_set: Path) -> None:
    first = export(training_set, "flag_embedding")
    again = export(training_set, "flag_embedding")
    assert again.already_finished
    assert again.parts_run == 0
    assert again.summary == first.summary


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("survives", [1, 4])
def test_an_interrupted_export_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, survives: int
) -> None:
    whole = digests(export(write_set(tmp_path / "whole"), name).folder)
    folder = write_set(tmp_path / "cut")
    written: list[str] = []
    put = SetFolder.put

    def stops(self: Any, path: str, data: bytes) -> None:
        if len(written) > survives:
            raise KeyboardInterrupt
        written.append(path)
        put(self, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(SetFolder, "put", stops)
        with pytest.raises(KeyboardInterrupt):
            export(folder, name)
    assert not (folder / "exports" / name / "export.json").exists()
    assert digests(export(folder, name).folder) == whole


def test_other_options_are_not_mixed_in(training_set: Path, tmp_path: Path) -> None:
    export(training_set, "id_triple", num_negatives=1)
    with pytest.raises(ConfigurationError, match=r"other options.*--to"):
        export(training_set, "id_triple", num_negatives=2)
    other = export_set(
        str(training_set), "id_triple", {"num_negatives": 2},
        ray=IN_PROCESS, to=str(tmp_path / "elsewhere"),
    )  # fmt: skip
    assert other.folder == str(tmp_path / "elsewhere")


def test_a_foreign_file_in_the_way_is_not_overwritten(training_set: Path) -> None:
    path = training_set / "exports/flag_embedding/train/part-00000.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(RunFailedError, match=r"part-00000\.jsonl"):
        export(training_set, "flag_embedding")
    assert path.read_text() == "mine"


def test_an_unfinished_set_is_refused(training_set: Path) -> None:
    (training_set / "_SUCCESS").unlink()
    with pytest.raises(NotFoundError, match="no finished training set"):
        export(training_set, "flag_embedding")


def test_every_document_is_written_once_and_none_is_missing(training_set: Path) -> None:
    done = export(training_set, "id_triple")
    folder = Path(done.folder)
    documents = pq.ParquetDataset(folder / "documents").read()
    ids = documents["document_id"].to_pylist()
    assert len(set(ids)) == len(ids) == done.summary["documents"]
    referred: set[str] = set()
    for split in canonical.SPLITS:
        lists = pq.ParquetDataset(folder / split).read()["document_ids"].to_pylist()
        referred |= {one for listed in lists for one in listed}
    assert referred == set(ids)
    texts = dict(zip(ids, documents["text"].to_pylist(), strict=True))
    assert all(text == f"text of {one}" for one, text in texts.items())


def test_many_parts_go_through_ray(tmp_path: Path, ray_cluster: None) -> None:
    few = export(write_set(tmp_path / "a", parts=6), "id_triple").folder
    done = export_set(
        str(write_set(tmp_path / "b", parts=6)), "id_triple", {}, ray=RayConfig(read_cpus=1)
    )
    assert done.parts_run == 10
    assert digests(done.folder) == digests(few)


def test_an_error_in_a_worker_keeps_its_class(tmp_path: Path, ray_cluster: None) -> None:
    folder = write_set(tmp_path / "set", parts=6)
    broken = Path(canonical.part_path(str(folder), canonical.TRAIN, 3))
    broken.write_bytes(b"no parquet")
    with pytest.raises(DamagedSetError, match=r"part-00003\.parquet"):
        export_set(str(folder), "flag_embedding", {}, ray=RayConfig(read_cpus=1))
