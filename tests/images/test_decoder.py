"""A process that decodes: what it must not exceed, what may kill it, and hostile files."""

from __future__ import annotations

import csv
import io
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.candidates import reasons
from pipeline.config import ImagesConfig
from pipeline.images.decoder import Decoder
from pipeline.images.decoding import ImageSize, resized
from pipeline.images.errors import ImageError

NASTY = Path(__file__).parents[3] / "shared/data/images_nasty"
SIZE = ImageSize()
GIB = 2**20  # in the KiB that Linux counts in


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    kept = Decoder()
    yield kept
    kept.close()


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def noise(mode: str, size: tuple[int, int]) -> Image.Image:
    band = Image.effect_noise((300, 200), 60)
    bands = [band.rotate(90 * i) for i in range(len(Image.new(mode, (1, 1)).getbands()))]
    image = Image.merge(mode, bands) if len(bands) > 1 else band.convert(mode)
    return image.resize(size)


def result(decoder: Decoder, data: bytes, **limits: Any) -> str:
    """``decoded``, or the reason code."""
    try:
        found = decoder.pixels(data, ImagesConfig(**limits), SIZE)
    except ImageError as error:
        return error.code
    assert found.shape[2] == 3 and found.shape[0] % 28 == found.shape[1] % 28 == 0
    assert found.shape[0] * found.shape[1] <= SIZE.max_pixels
    return "decoded"


def process_of(decoder: Decoder) -> int:
    assert decoder._process is not None
    return decoder._process.pid


def peak(decoder: Decoder) -> int:
    """Most memory that the process has had so far, in KiB."""
    status = Path(f"/proc/{process_of(decoder)}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def test_pixels_are_those_of_this_process_and_one_process_makes_them(decoder: Decoder) -> None:
    seen = set()
    for kind in ("PNG", "JPEG", "WEBP"):
        data = encoded(noise("RGB", (301, 197)), kind)
        here = np.asarray(resized(data, SIZE, max_pixels=10**6))
        assert np.array_equal(decoder.pixels(data, ImagesConfig(), SIZE), here)
        seen.add(process_of(decoder))
    assert len(seen) == 1


def test_limits_name_their_setting(decoder: Decoder) -> None:
    data = encoded(noise("L", (300, 200)))
    for limits in ({"max_bytes": len(data) - 1}, {"max_pixels": 59_999}):
        with pytest.raises(ImageError, match=f"input.images.{next(iter(limits))}") as caught:
            decoder.pixels(data, ImagesConfig(**limits), SIZE)
        assert caught.value.code == reasons.IMAGE_LIMIT
    assert result(decoder, data, max_bytes=len(data), max_pixels=60_000) == "decoded"


def test_the_process_has_nothing_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    decoder = Decoder()
    assert result(decoder, encoded(noise("L", (30, 30)))) == "decoded"
    proc = Path(f"/proc/{process_of(decoder)}")
    assert b"canary" not in (proc / "environ").read_bytes()
    limits = (proc / "limits").read_text()
    assert f"Max address space         {2**30}" in limits
    assert "torch" not in (proc / "maps").read_text()
    decoder.close()
    assert not proc.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mode", "size", "options"),
    [
        ("JPEG", "RGB", (8_000, 7_500), {"progressive": True, "subsampling": 0}),
        ("PNG", "RGBA", (8_000, 7_500), {"compress_level": 1}),
        ("WEBP", "RGB", (7_000, 7_500), {"method": 0, "quality": 1}),
    ],
)
def test_the_largest_images_stay_below_a_gibibyte(
    kind: str, mode: str, size: tuple[int, int], options: dict[str, Any]
) -> None:
    image = Image.new(mode, size, "red") if kind == "PNG" else noise(mode, size)
    decoder = Decoder()
    exif = Image.Exif()
    exif[0x0112] = 6
    assert result(decoder, encoded(image, kind, exif=exif, **options)) == "decoded"
    assert peak(decoder) < GIB
    decoder.close()


def test_a_process_that_is_killed_between_images_is_started_again(decoder: Decoder) -> None:
    data = encoded(noise("L", (30, 30)))
    assert result(decoder, data) == "decoded"
    before = process_of(decoder)
    os.kill(before, signal.SIGKILL)
    assert result(decoder, data) == "decoded"
    assert process_of(decoder) != before


@pytest.mark.slow
def test_an_image_that_takes_too_long_ends_its_process_only(decoder: Decoder) -> None:
    slow = encoded(Image.new("RGB", (6_000, 6_000)), "PNG")
    assert result(decoder, slow, decode_s=0.01) == reasons.IMAGE_LIMIT
    assert result(decoder, encoded(noise("L", (30, 30)))) == "decoded"


def test_a_process_that_stands_still_is_not_waited_for(decoder: Decoder) -> None:
    data = encoded(noise("L", (30, 30)))
    assert result(decoder, data) == "decoded"
    os.kill(process_of(decoder), signal.SIGSTOP)
    assert result(decoder, data, decode_s=0.02) == reasons.IMAGE_LIMIT
    assert result(decoder, data) == "decoded"


def test_a_file_that_crashes_its_process_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder()
    monkeypatch.setattr("sys.executable", "/bin/false")
    data = encoded(noise("L", (30, 30)))
    assert result(decoder, data) == reasons.IMAGE_DECODE
    monkeypatch.undo()
    assert result(decoder, data) == "decoded"
    decoder.close()


def test_several_threads_and_a_forked_process(decoder: Decoder) -> None:
    images = [encoded(Image.new("RGB", (56, 56), (i, 0, 0))) for i in range(40)]
    found: dict[int, int] = {}

    def work(start: int) -> None:
        for i in range(start, len(images), 4):
            found[i] = int(decoder.pixels(images[i], ImagesConfig(), SIZE)[0, 0, 0])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: i for i in range(len(images))}
    child = os.fork()
    if child == 0:  # must use a process of its own, and leave the parent's alone
        ok = decoder.pixels(images[7], ImagesConfig(), SIZE)[0, 0, 0] == 7
        decoder.close()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert decoder.pixels(images[9], ImagesConfig(), SIZE)[0, 0, 0] == 9


def seeds() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    made = [
        encoded(noise("RGB", (160, 120)), "JPEG", exif=exif),
        encoded(noise("CMYK", (90, 120)), "JPEG", progressive=True),
        encoded(noise("L", (90, 120)), "JPEG"),
        encoded(noise("RGBA", (160, 120)), exif=exif),
        encoded(noise("L", (160, 120)).convert("P"), transparency=3),
        encoded(noise("L", (90, 50)).convert("I;16")),
        encoded(noise("RGB", (160, 120)), "WEBP", exif=exif),
        encoded(noise("RGBA", (160, 120)), "WEBP", lossless=True),
    ]
    frames = [noise("RGB", (64, 48)).rotate(i) for i in range(3)]
    for kind in ("PNG", "WEBP"):
        made.append(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    return made


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A seed with a few bytes set, cut, repeated or exchanged, mostly near its beginning."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        reach = chance.choice((40, 200, len(changed))) or 1
        place = chance.randrange(min(reach, len(changed)) or 1) if changed else 0
        kind = chance.randrange(6)
        if kind == 0:
            changed[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            changed[place : place + 4] = chance.choice(
                (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff")
            )
        elif kind == 2:
            del changed[chance.randrange(len(changed) + 1) :]
        elif kind == 3:
            changed[place:place] = changed[place : place + chance.randrange(1, 300)]
        elif kind == 4:
            del changed[place : place + chance.randrange(1, 60)]
        else:
            changed[place : place + 1] = (
                bytes([changed[place] ^ 1 << chance.randrange(8)])
                if (place < len(changed))
                else b""
            )
    return bytes(changed)


def test_three_hundred_mutated_images() -> None:
    chance, originals = random.Random(13), seeds()
    decoder = Decoder()
    assert {result(decoder, data) for data in originals} == {"decoded"}
    before, found = process_of(decoder), Counter[str]()
    for number in range(300):
        data = mutated(originals[number % len(originals)], chance)
        found[result(decoder, data)] += 1
    assert process_of(decoder) == before  # none crashed it, none hung
    assert peak(decoder) < GIB
    assert sum(found.values()) == 300
    assert set(found) <= {"decoded", reasons.IMAGE_DECODE, reasons.IMAGE_LIMIT}
    assert found["decoded"] > 30 and found[reasons.IMAGE_DECODE] > 100
    decoder.close()


#: Formats that the collection holds and that are not decoded, by the beginnings of categories.
OTHER_FORMATS = (".gif", ".tif", ".tiff", ".pgm", ".bmp", ".ico", ".jp2", ".avif", ".heif", ".psd")
TOO_LARGE = {"made_extreme_aspect_30000x8.png", "made_bomb_400MP_1bit.png"}


def test_difficult_files_either_decode_or_name_a_reason(decoder: Decoder) -> None:
    if not NASTY.is_dir():
        pytest.skip(f"no folder {NASTY.name} beside the repository")
    with (NASTY / "manifest.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    wrong = []
    for row in rows:
        name, expected = row["file"], "decoded"
        if name in TOO_LARGE:
            expected = reasons.IMAGE_LIMIT
        elif row["result"] == "raises" or name.endswith(OTHER_FORMATS):
            expected = reasons.IMAGE_DECODE
        found = result(decoder, (NASTY / "files" / name).read_bytes())
        if found != expected:
            wrong.append(f"{name}: {found}, expected {expected}")
    assert len(rows) > 50 and not wrong, "\n".join(wrong)
    assert peak(decoder) < GIB
