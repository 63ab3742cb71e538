"""The real consumer: sentence-transformers reads each of its formats and trains a step on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import RayConfig
from pipeline.distillation.sets.exports import export_set
from tests.distillation.formats.makers import item, part, query, small_set, tiny_checkpoint

sentence_transformers = pytest.importorskip("sentence_transformers", reason="needs extra [train]")

from datasets import Dataset, Image, load_dataset, load_from_disk  # noqa: E402
from sentence_transformers import (  # noqa: E402
    CrossEncoder,
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.cross_encoder import losses as pair_losses  # noqa: E402
from sentence_transformers.sentence_transformer import losses  # noqa: E402
from sentence_transformers.sentence_transformer.data_collator import (  # noqa: E402
    SentenceTransformerDataCollator,
)
from sentence_transformers.util import resolve_ids  # noqa: E402

PREFIX = "sentence_transformers_"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def training_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def exported(training_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """The loader's own view of an export, opened by nothing but its folder."""

    def load(name: str, configuration: str | None = None, **options: Any) -> Any:
        to = tmp_path_factory.mktemp(name) / "export"
        export_set(str(training_set), name, options, ray=RayConfig(mode="in_process"), to=str(to))
        cache = str(tmp_path_factory.mktemp("cache"))
        return partial(load_dataset, str(to), cache_dir=cache)(configuration)

    return load


def bi_encoder_step(checkpoint: str, data: Dataset, loss: Any, folder: Path) -> float:
    model = SentenceTransformer(checkpoint, device="cpu")
    arguments = SentenceTransformerTrainingArguments(
        str(folder), max_steps=1, per_device_train_batch_size=4, report_to="none", use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=loss(model))
    return trainer.train().training_loss


def cross_encoder_step(checkpoint: str, data: Dataset, loss: Any, folder: Path) -> float:
    model = CrossEncoder(checkpoint, num_labels=1, device="cpu")
    arguments = CrossEncoderTrainingArguments(
        str(folder), max_steps=1, per_device_train_batch_size=4, report_to="none", use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = CrossEncoderTrainer(model, arguments, train_dataset=data, loss=loss(model))
    return trainer.train().training_loss


@pytest.mark.parametrize(
    ("name", "options", "loss"),
    [
        ("labeled_pair", {}, losses.CoSENTLoss),
        ("labeled_pair", {"labels": "binary"}, losses.OnlineContrastiveLoss),
        ("triplet", {}, losses.MultipleNegativesRankingLoss),
        ("triplet", {}, losses.TripletLoss),
        ("n_tuple", {}, losses.MultipleNegativesRankingLoss),
        ("n_tuple", {}, losses.MarginMSELoss),
        ("margin_mse", {}, losses.MarginMSELoss),
        ("distill_kldiv", {}, partial(losses.DistillKLDivLoss, teacher_temperature=0.7)),
    ],
)
def test_losses_of_bi_encoders_take_a_step(
    exported: Any, checkpoint: str, tmp_path: Path, name: str, options: Any, loss: Any
) -> None:
    data = exported(PREFIX + name, **options)["train"]
    assert math.isfinite(bi_encoder_step(checkpoint, data, loss, tmp_path))


@pytest.mark.parametrize(
    ("name", "options", "loss"),
    [
        ("labeled_pair", {}, pair_losses.MSELoss),
        ("labeled_pair", {"labels": "binary"}, pair_losses.BinaryCrossEntropyLoss),
        ("labeled_list", {}, pair_losses.ListNetLoss),
        ("labeled_list", {}, pair_losses.RankNetLoss),
        ("labeled_list", {}, pair_losses.PListMLELoss),
        ("labeled_list", {}, pair_losses.ADRMSELoss),
        ("labeled_list", {"labels": "binary"}, pair_losses.LambdaLoss),
        ("triplet", {}, pair_losses.MultipleNegativesRankingLoss),
        ("margin_mse", {}, pair_losses.MarginMSELoss),
        ("n_tuple", {}, pair_losses.MarginMSELoss),
    ],
)
def test_losses_of_cross_encoders_take_a_step(
    exported: Any, checkpoint: str, tmp_path: Path, name: str, options: Any, loss: Any
) -> None:
    data = exported(PREFIX + name, **options)["train"]
    assert math.isfinite(cross_encoder_step(checkpoint, data, loss, tmp_path))


def test_id_triples_are_resolved(exported: Any, checkpoint: str, tmp_path: Path) -> None:
    parts = {name: exported("id_triple", name)["train"] for name in ("queries", "documents")}
    train = exported("id_triple", "train")["train"]
    lookups = {"query_id": parts["queries"], "document_ids": parts["documents"]}
    train.set_transform(resolve_ids(lookups))
    first = train[0]
    assert list(first) == ["query", "document_1", "document_2", "document_3", "scores"]
    assert first["query"] == "query q0train0"
    assert [first[f"document_{n}"] for n in (1, 2, 3)] == ["text of p", "text of n", "text of m"]
    assert first["scores"] == [2.0, 1.0, -0.5]
    loss = partial(losses.DistillKLDivLoss, teacher_temperature=0.7)
    assert math.isfinite(bi_encoder_step(checkpoint, train, loss, tmp_path))


@pytest.mark.parametrize(
    "name",
    ["labeled_pair", "labeled_list", "triplet", "n_tuple", "margin_mse", "distill_kldiv"],
)
def test_the_loader_finds_both_splits(exported: Any, name: str) -> None:
    data = exported(PREFIX + name)
    assert set(data) == {"train", "dev"}
    assert data["train"].num_rows == data["dev"].num_rows


def test_the_library_warns_of_nothing(
    exported: Any, checkpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither of columns in an order that it does not expect, nor of ids that it would train on."""
    collator = SentenceTransformerDataCollator(
        SentenceTransformer(checkpoint, device="cpu").preprocess
    )
    with caplog.at_level("WARNING"):
        for name in ("labeled_pair", "triplet", "n_tuple", "margin_mse", "distill_kldiv"):
            data = exported(PREFIX + name)["train"]
            collator([data[0], data[1]])
        assert warned(caplog) == []
        wrong = data.select_columns(["document_1", "query"]).rename_column("query", "positive_id")
        collator([wrong[0]])
    assert len(warned(caplog)) == 1  # it does speak, where there is something to say


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "olumn" in one.getMessage()]


def test_tevatron_distill_is_a_dataset_on_disk(training_set: Path, tmp_path: Path) -> None:
    export_set(
        str(training_set), "tevatron_distill", {}, ray=RayConfig(mode="in_process"),
        to=str(tmp_path / "export"),
    )  # fmt: skip
    data = load_from_disk(str(tmp_path / "export" / "train"))
    assert data.column_names == ["query_id", "query", "passages", "scores"]
    assert data.num_rows == 8
    assert data[0]["passages"][0] == {"title": "", "text": "text of p"}
    assert all(len(row["passages"]) == len(row["scores"]) for row in data)


def test_images_are_decoded(tmp_path: Path) -> None:
    """Bytes and paths come back as pictures, inside lists too."""
    from io import BytesIO

    from PIL import Image as Pillow

    from pipeline.distillation.formats.support.finding import build

    data = BytesIO()
    Pillow.new("RGB", (3, 5), "red").save(data, "PNG")
    (tmp_path / "n.png").write_bytes(data.getvalue())
    rows = part(
        query(
            "q",
            [item("p", 1.0, image=data.getvalue())],
            [item("n", 0.0, text=None, image_uri=str(tmp_path / "n.png"))],
        )
    )
    for name, column in (("triplet", "negative"), ("labeled_list", "documents")):
        form = build(PREFIX + name, {"content": "image"})
        (written,) = form.write(rows, split="train", part="p").files.values()
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(written)
        loaded = load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path / name))
        value = loaded["train"][0][column]
        picture = value[-1] if isinstance(value, list) else value
        assert picture.size == (3, 5)
    assert isinstance(loaded["train"].features["documents"].feature, Image)
