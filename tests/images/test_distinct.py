"""Each distinct image is read and decoded once, whatever it is called and however often."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from PIL import Image

from pipeline.candidates import reasons
from pipeline.config import ImagesConfig
from pipeline.images.decoding import ImageSize
from pipeline.images.distinct import DistinctImages


def png(colour: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (56, 56), colour).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for colour in ("red", "green", "blue"):
        (tmp_path / f"{colour}.png").write_bytes(png(colour))
    (tmp_path / "broken.png").write_bytes(b"no image")
    return tmp_path


def distinct(folder: Path) -> DistinctImages:
    return DistinctImages(ImagesConfig(base=str(folder)), ImageSize())


def test_places_in_order_of_first_use(folder: Path) -> None:
    images = distinct(folder)
    values = ["red.png", None, png("blue"), {"path": "./red.png"}, "blue.png", "green.png"] * 20
    assert images.places(values) == [0, None, 1, 0, 1, 2] * 20
    assert [image[0, 0].tolist() for image in images.kept] == [
        [255, 0, 0],
        [0, 0, 255],
        [0, 128, 0],
    ]
    assert images.places(["green.png", png("red")]) == [2, 0]


def test_each_path_is_opened_once(folder: Path) -> None:
    images = distinct(folder)
    assert images.places(["red.png"]) == [0]
    (folder / "red.png").unlink()
    assert images.places(["red.png", "./red.png"]) == [0, reasons.IMAGE_FETCH]


def test_reasons_are_kept_and_the_first_of_each_are_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "https://host/a.png?X-Amz-Signature=hunter22\x1b[2J"
    values = ["broken.png", "red.png", secret, *(f"absent{i}.png" for i in range(9))]
    with caplog.at_level(logging.WARNING, "pipeline"):
        found = distinct(folder).places(values * 2)
    fetch = reasons.IMAGE_FETCH
    assert found == [reasons.IMAGE_DECODE, 0, fetch, *[fetch] * 9] * 2
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 + 3
    assert "hunter22" not in "".join(lines) and "\x1b" not in "".join(lines)
    assert "No such file" in lines[-1]
