"""Damage in a training set's folder is named by whoever reads it, or changes nothing."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import DistillConfig, RayConfig
from pipeline.distillation.preparation import prepare_distillation
from pipeline.distillation.run import distill
from pipeline.distillation.sets.card_files import write_card
from pipeline.distillation.sets.exports import export_set
from pipeline.distillation.sets.folder import SetFolder
from pipeline.errors import DamagedSetError, RerankError, RunFailedError
from tests.distillation.teacher_runs import write_run
from tests.makers import long_table, write

IN_PROCESS = RayConfig(mode="in_process")
DAMAGES = 120


class Made:
    """A finished set with an export, of which every test gets a copy."""

    def __init__(self, base: Path) -> None:
        source = write(base / "in.parquet", long_table(queries=12, documents=8))
        run = write_run(base / "run", source, lambda query, doc: _drawn(query + doc))
        self.config = DistillConfig.model_validate(
            {
                "teachers": [{"run": str(run)}],
                "output": {"path": str(base / "sets")},
                "split": {"dev_fraction": 0.3},
                "negatives": {"max_per_document": 8},
                "ray": {"mode": "in_process"},
            }
        )
        done = distill(prepare_distillation(self.config))
        self.folder, self.kept = Path(done.folder), base / "kept"
        export_set(done.folder, "flag_embedding", {}, ray=IN_PROCESS)
        write_card(done.folder)
        shutil.copytree(self.folder, self.kept)

    def fresh(self, *without: str) -> Path:
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)
        for name in without:
            (self.folder / name).unlink()
        return self.folder

    def distill(self) -> object:
        done = distill(prepare_distillation(self.config))
        return done.manifest, content(self.folder, ("canonical", "rejects"))

    def export(self) -> object:
        done = export_set(str(self.folder), "flag_embedding", {}, ray=IN_PROCESS)
        return done.summary, content(Path(done.folder), ("train", "dev"))

    def export_anew(self) -> object:
        name = "sentence_transformers_triplet"
        done = export_set(str(self.folder), name, {}, ray=IN_PROCESS)
        return done.summary, content(Path(done.folder), ("train", "dev"))

    def card(self) -> object:
        write_card(str(self.folder))
        return (self.folder / "card.json").read_bytes()


def content(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in names
        for path in sorted((folder / name).rglob("*"))
        if path.is_file()
    }


def _drawn(seed: str) -> float:
    return int(hashlib.sha256(seed.encode()).hexdigest()[:6], 16) / 2**20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.mark.slow
@pytest.mark.parametrize("state", ["finished", "half-done"])
def test_no_damage_passes_for_the_set(made: Made, state: str) -> None:
    """One bit or a cut, in any file: the result is that of the whole set, or an error names it."""
    half = () if state == "finished" else ("_SUCCESS", "manifest.json", "rejected.parquet")
    reads: tuple[Callable[[], object], ...] = (
        (made.distill, made.export, made.export_anew, made.card) if not half else (made.distill,)
    )
    whole = []
    for read in reads:
        made.fresh(*half)
        whole.append(read())
    made.fresh(*half)
    files = sorted(str(path.relative_to(made.folder)) for path in made.folder.rglob("*.*"))
    # What is made anew from the set, and is read by people alone.
    files = [one for one in files if not one.startswith(("card", "images", "pictures"))]
    files = [one for one in files if (made.folder / one).is_file()]
    chance, noticed = random.Random(len(half)), 0
    for number in range(DAMAGES if not half else DAMAGES // 3):
        name = files[number % len(files)]
        path = made.folder / name
        data = path.read_bytes()
        place = chance.randrange(len(data))
        flipped = data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
        damaged = chance.choice([flipped, flipped, data[:place]])
        for read, expected in zip(reads, whole, strict=True):
            if read == made.card and number % 30:  # drawing its pictures takes a second
                continue
            path.write_bytes(damaged)
            try:
                assert read() == expected, f"{name}, byte {place}: a silent difference"
            except RerankError as error:
                assert name in str(error), f"{name}, byte {place}: not named by {error}"
                assert int(error.exit_code) in (4, 5)
                noticed += 1
            if half:
                made.fresh(*half)
            else:
                path.write_bytes(data)
                shutil.rmtree(
                    made.folder / "exports/sentence_transformers_triplet", ignore_errors=True
                )
    assert noticed > DAMAGES // 10


@pytest.mark.parametrize(
    ("target", "other"),
    [
        ("canonical/train/part-00000.parquet", "canonical/train/part-00001.parquet"),
        ("rejects/part-00001.parquet", "rejects/part-00000.parquet"),
        ("rejected.parquet", "decontamination.parquet"),
        ("manifest.json", "set.json"),
        ("_SUCCESS", "manifest.json"),
        ("set.json", "_SUCCESS"),
    ],
)
def test_a_file_in_the_place_of_another_is_noticed(made: Made, target: str, other: str) -> None:
    folder = made.fresh()
    shutil.copy(folder / other, folder / target)
    with pytest.raises(DamagedSetError, match=target.rpartition("/")[2]):
        made.distill()


@pytest.mark.parametrize(
    ("step", "stray"), [("survey", "parquet"), ("decisions", "parquet"), ("records", "json")]
)
def test_a_step_of_another_unit_is_noticed(made: Made, step: str, stray: str) -> None:
    folder = made.fresh("_SUCCESS", "manifest.json")
    for path in (folder / "work/records").iterdir():
        if step != "records":
            path.unlink()
    if step == "survey":
        (folder / "work/decided.json").unlink()
    (folder / f"work/{step}/part-notes.txt").write_text("a file of somebody")
    (folder / f"work/{step}/.DS_Store").write_text("")
    first, second = (folder / f"work/{step}/part-0000{n}.{stray}" for n in range(2))
    shutil.copy(second, first)
    with pytest.raises(DamagedSetError, match=f"{first.name}.*written as.*{second.name}"):
        made.distill()


@pytest.mark.parametrize("name", ["canonical/train/part-99999.parquet", "rejects/notes"])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_the_set_did_not_make_is_named(made: Made, name: str, kind: str) -> None:
    path = made.fresh() / name
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/nowhere")
    else:
        path.write_text("of somebody")
    (path.parent / ".DS_Store").write_text("")
    for read in (made.distill, made.export_anew, made.card):
        with pytest.raises(DamagedSetError, match=rf"{path.name}: the set did not make it"):
            read()
    path.rmdir() if kind == "folder" else path.unlink()
    made.distill()


def test_a_finished_export_that_lost_a_file_is_not_called_finished(made: Made) -> None:
    folder = made.fresh()
    for path in sorted((folder / "exports/flag_embedding").glob("*/part-*"))[:2]:
        path.unlink()
        with pytest.raises(DamagedSetError, match=f"{path.name}: missing"):
            made.export()
        path.write_text("{}")
        with pytest.raises(DamagedSetError, match=f"{path.name}: another content"):
            made.export()
        made.fresh()


def test_files_of_another_set_are_noticed(made: Made) -> None:
    """A folder may be renamed; what is of a set that is named otherwise may not stand in it."""
    folder = made.fresh("_SUCCESS", "manifest.json")
    path = folder / "work/decided.json"
    other = SetFolder(str(folder.parent / "0123456789abcdef"))
    other.put_json(other.work("decided.json"), json.loads(path.read_text()))
    shutil.copy(other.work("decided.json"), path)
    with pytest.raises(DamagedSetError, match=r"decided\.json.*of set '0123456789abcdef'"):
        made.distill()
    shutil.rmtree(other.path)
    renamed = made.fresh().rename(folder.parent / "our set")
    try:
        export_set(str(renamed), "sentence_transformers_triplet", {}, ray=IN_PROCESS)
    finally:
        renamed.rename(folder)


def test_a_link_in_the_place_of_a_file_is_not_followed(made: Made) -> None:
    folder = made.fresh()
    path = folder / "manifest.json"
    path.rename(folder.parent / "elsewhere.json")
    path.symlink_to(folder.parent / "elsewhere.json")
    with pytest.raises(RerankError, match=r"manifest\.json.*link"):
        made.export()


def test_what_was_written_before_with_other_content_stays(made: Made) -> None:
    folder = made.fresh("_SUCCESS", "work/records/part-00000.json")
    path = folder / "rejects/part-00000.parquet"
    path.write_bytes(b"of somebody")
    with pytest.raises(RunFailedError, match=path.name):
        made.distill()
    assert path.read_bytes() == b"of somebody"
