"""Pixels bit-equal to Qwen2-VL's Pillow path, and images that must not get through."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import socket
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from safetensors.numpy import load_file

import pipeline.candidates.image_sources as sources
from pipeline.candidates import reasons
from pipeline.candidates.image_sources import ImageError, ImageLimits, fetch, is_public
from pipeline.candidates.images import ImageSize, decode, pixels
from pipeline.errors import NotFoundError

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/goldens/jina-reranker-m0"
NASTY = ROOT.parent / "shared/data/images_nasty"
EXPECTED = [
    json.loads(line) for line in (GOLDEN / "images_expected.jsonl").read_text().splitlines()
]
ACCEPTED = [case for case in EXPECTED if "error" not in case]

LIMITS = ImageLimits(base=str(GOLDEN))
SIZE = ImageSize()


def normalised_patches(image: np.ndarray) -> np.ndarray:
    """float32 [patches, 1176] as the specification says it, independent of the product's table."""
    mean = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
    deviation = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
    scaled = (image.astype(np.float64) * 0.00392156862745098).astype(np.float32)
    values = ((scaled - mean) / deviation).transpose(2, 0, 1)
    rows, columns = image.shape[0] // 28, image.shape[1] // 28
    blocks = values.reshape(3, rows, 2, 14, columns, 2, 14).transpose(1, 4, 2, 5, 0, 3, 6)
    twice = np.repeat(blocks[:, :, :, :, :, None], 2, axis=5)
    return np.ascontiguousarray(twice.reshape(-1, 1176))


def load_image(value: object, limits: ImageLimits, size: ImageSize) -> np.ndarray:
    """uint8 RGB [height, width, 3] of an ``image`` value."""
    return pixels(fetch(value, limits), limits, size)


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(normalised_patches(image).tobytes()).hexdigest()


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(ImageError) as caught:
        call()
    assert caught.value.code in reasons.MESSAGES
    return caught.value.code


class TestPixels:
    @pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case["image"])
    def test_bit_equal_to_the_published_processor(self, case: dict[str, Any]) -> None:
        if "gray16" in case["image"] and int(Image.__version__.split(".")[0]) < 13:
            pytest.skip("Pillow before 13 converts 16-bit grey in another way")
        image = load_image(case["image"], LIMITS, SIZE)
        assert image.dtype == np.uint8
        assert list(image.shape[:2]) == case["resized_hw"]
        assert digest(image) == case["float32_sha256"]

    def test_whole_arrays(self) -> None:
        for name, expected in load_file(GOLDEN / "pixel_values_small.safetensors").items():
            image = load_image(f"images/{name}", LIMITS, SIZE)
            assert np.array_equal(normalised_patches(image), expected)

    def test_refused_by_the_published_processor(self) -> None:
        refused = [case for case in EXPECTED if "error" in case]
        assert len(refused) == 1
        call = lambda: load_image(refused[0]["image"], LIMITS, SIZE)  # noqa: E731
        assert code_of(call) == reasons.IMAGE_LIMIT

    @pytest.mark.parametrize(
        ("height", "width", "expected"),
        [
            (70, 42, (56, 56)),  # 2.5 and 1.5 are rounded to even
            (98, 98, (112, 112)),  # 3.5 is rounded to even, here upwards
            (20, 20, (56, 56)),
            (1, 1, (56, 56)),
            (28, 28, (56, 56)),
            (1754, 1240, (896, 644)),
            (28, 5600, (28, 5600)),  # exactly 200 times
        ],
    )
    def test_sides(self, height: int, width: int, expected: tuple[int, int]) -> None:
        assert SIZE.fit(height, width) == expected


class TestWrongChoices:
    """Each disagreement between implementations moves the pixels of at least one golden image."""

    WRONG: dict[str, tuple[str, Callable[[Image.Image], Image.Image]]] = {  # noqa: RUF012
        "no EXIF": ("images/exif_rot90_160x90.png", lambda image: image.convert("RGB")),
        "alpha composited": (
            "images/rgba_180x150.png",
            lambda image: Image.alpha_composite(
                Image.new("RGBA", image.size, "white"), image.convert("RGBA")
            ).convert("RGB"),
        ),
        "palette transparency composited": (
            "images/palette_transparent_220x140.png",
            lambda image: Image.alpha_composite(
                Image.new("RGBA", image.size, "white"), image.convert("RGBA")
            ).convert("RGB"),
        ),
    }

    @pytest.mark.parametrize("name", WRONG)
    def test_conversion(self, name: str) -> None:
        path, wrong = self.WRONG[name]
        image = wrong(Image.open(GOLDEN / path))
        height, width = SIZE.fit(image.height, image.width)
        resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
        assert digest(resized) != self.expected(path)

    @pytest.mark.parametrize("kernel", ["BILINEAR", "LANCZOS", "NEAREST", "BOX"])
    def test_resampling(self, kernel: str) -> None:
        path = "images/photo_640x480.png"
        image = ImageOps.exif_transpose(Image.open(GOLDEN / path)).convert("RGB")
        height, width = SIZE.fit(image.height, image.width)
        resized = np.asarray(image.resize((width, height), Image.Resampling[kernel]))
        assert digest(resized) != self.expected(path)

    @pytest.mark.parametrize(
        ("path", "size"),
        [
            ("images/big_3000x2000.png", ImageSize(max_pixels=12_845_056)),
            ("images/small_28x28.png", ImageSize(min_pixels=784)),
        ],
    )
    def test_pixel_limits(self, path: str, size: ImageSize) -> None:
        assert digest(load_image(path, LIMITS, size)) != self.expected(path)

    def test_rounding_half_up(self) -> None:
        path = "images/halfway_70x42.png"
        image = Image.open(GOLDEN / path).convert("RGB").resize((56, 84), Image.Resampling.BICUBIC)
        assert digest(np.asarray(image)) != self.expected(path)

    @staticmethod
    def expected(path: str) -> str:
        return next(str(c["float32_sha256"]) for c in EXPECTED if c["image"] == path)


class TestSources:
    NAME = "images/noise_84x84.png"

    def test_every_form_of_a_value_is_the_same_image(self) -> None:
        path = GOLDEN / self.NAME
        data = path.read_bytes()
        forms = [
            data,
            {"bytes": data, "path": None},
            {"bytes": None, "path": self.NAME},
            {"bytes": data, "path": "s3://elsewhere/never/read.png"},
            self.NAME,
            f"./images/../{self.NAME}",
            str(path),
            path.as_uri(),
            "data:image/png;base64," + base64.b64encode(data).decode(),
        ]
        for form in forms:
            assert fetch(form, LIMITS) == data

    @pytest.mark.parametrize(
        "value",
        ["images/absent.png", "/nowhere/absent.png", "file:///nowhere/absent.png", "images", "."],
    )
    def test_what_is_not_there(self, value: object) -> None:
        assert code_of(lambda: fetch(value, LIMITS)) == reasons.IMAGE_FETCH

    @pytest.mark.parametrize(
        "value",
        [
            "",
            {"bytes": None, "path": None},
            7,
            "../outside.png",
            "images/../../outside.png",
            "http://example.com/a.png",
            "https://example.com/a.png",
            "HTTPS://example.com/a.png",
            "ftp://example.com/a.png",
            "local:///etc/hostname",
            "zip://a.png::https://example.com/a.zip",
            "s3://bucket/a.png::memory://b",
            "data:image/png,notbase64",
            "data:image/png;base64,%%%",
            "images\0/a.png",
        ],
    )
    def test_what_is_never_opened(self, monkeypatch: pytest.MonkeyPatch, value: object) -> None:
        opened: list[str] = []
        monkeypatch.setattr(sources, "open_input", lambda uri: opened.append(uri))
        assert code_of(lambda: fetch(value, LIMITS)) == reasons.IMAGE_FETCH
        assert opened == []

    def test_relative_path_without_a_base(self) -> None:
        assert code_of(lambda: fetch(self.NAME, ImageLimits())) == reasons.IMAGE_FETCH

    def test_a_base_follows_the_same_rules(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[str] = []
        monkeypatch.setattr(sources, "open_input", lambda uri: opened.append(uri))
        limits = ImageLimits(base="http://169.254.169.254")
        assert code_of(lambda: fetch("a.png", limits)) == reasons.IMAGE_FETCH
        assert opened == []

    def test_other_stores_are_opened_by_the_storage_room(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def open_input(uri: str) -> io.BytesIO:
            asked.append(uri)
            if "absent" in uri:
                raise NotFoundError(uri)
            return io.BytesIO(b"data")

        monkeypatch.setattr(sources, "open_input", open_input)
        limits = ImageLimits(base="s3://bucket/images/")
        assert fetch("a/b.png", limits) == b"data"
        assert fetch("s3://bucket/c.png", limits) == b"data"
        assert code_of(lambda: fetch("s3://bucket/absent.png", limits)) == reasons.IMAGE_FETCH
        assert asked[:2] == ["s3://bucket/images/a/b.png", "s3://bucket/c.png"]

    @pytest.mark.parametrize(("address", "read"), [("93.184.215.14", True), ("10.0.0.1", False)])
    def test_https_reaches_public_hosts_only(
        self, monkeypatch: pytest.MonkeyPatch, address: str, read: bool
    ) -> None:
        def getaddrinfo(*_: object, **__: object) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(sources, "open_input", lambda uri: io.BytesIO(uri.encode()))
        uri, limits = "https://example.com/a.png", ImageLimits(allow_https=True)
        if read:
            assert fetch(uri, limits) == uri.encode()
        else:
            assert code_of(lambda: fetch(uri, limits)) == reasons.IMAGE_FETCH

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "168.63.129.16",
            "192.0.0.192",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "fd00::1",
            "fe80::1%eth0",
            "ff02::1",
        ],
    )
    def test_addresses_that_lead_inside(self, address: str) -> None:
        assert not is_public(address)

    def test_addresses_of_the_open_internet(self) -> None:
        assert is_public("93.184.215.14") and is_public("2606:2800:220:1::1")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


class TestLimits:
    @pytest.mark.parametrize(
        ("width", "height"), [(20_000, 20_000), (12_000, 12_000), (40_000, 300)]
    )
    def test_bombs_are_refused_by_their_header(self, width: int, height: int) -> None:
        assert code_of(lambda: decode(png_header(width, height), LIMITS)) == reasons.IMAGE_LIMIT

    def test_the_same_header_within_the_limit_is_decoded_and_found_damaged(self) -> None:
        assert code_of(lambda: decode(png_header(2_000, 2_000), LIMITS)) == reasons.IMAGE_DECODE

    def test_limits_are_settable_and_inclusive(self) -> None:
        data = encoded(Image.new("RGB", (60, 50)))
        assert decode(data, ImageLimits(max_pixels=3_000, max_bytes=len(data))).size == (60, 50)
        for limits in (
            ImageLimits(max_pixels=2_999),
            ImageLimits(max_side=59),
            ImageLimits(max_bytes=len(data) - 1),
        ):
            assert code_of(lambda limits=limits: decode(data, limits)) == reasons.IMAGE_LIMIT

    def test_bytes_are_limited_while_they_are_read(self, tmp_path: Path) -> None:
        (tmp_path / "large.png").write_bytes(b"x" * 2_000)
        limits = ImageLimits(base=str(tmp_path), max_bytes=1_999)
        assert code_of(lambda: fetch("large.png", limits)) == reasons.IMAGE_LIMIT
        inline = "data:;base64," + "A" * 4_000
        assert code_of(lambda: fetch(inline, limits)) == reasons.IMAGE_LIMIT

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"<html>not found</html>",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            encoded(Image.new("RGB", (64, 64)))[:-40],
            encoded(Image.effect_noise((64, 64), 50), "JPEG")[:-300],
            encoded(Image.new("RGB", (64, 64)), "JPEG2000"),
        ],
        ids=["empty", "html", "postscript", "short PNG", "short JPEG", "format not listed"],
    )
    def test_what_is_no_image(self, data: bytes) -> None:
        assert code_of(lambda: pixels(data, LIMITS, SIZE)) == reasons.IMAGE_DECODE

    def test_a_listed_format_is_decoded(self) -> None:
        data = encoded(Image.new("RGB", (64, 64)), "JPEG2000")
        assert pixels(data, ImageLimits(formats=("JPEG2000",)), SIZE).shape == (56, 56, 3)

    def test_every_mode_becomes_rgb(self) -> None:
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            image = pixels(encoded(Image.new(mode, (57, 31))), LIMITS, SIZE)
            assert image.shape == (56, 84, 3), mode
        assert pixels(encoded(Image.new("CMYK", (57, 31)), "JPEG"), LIMITS, SIZE).ndim == 3

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_orientation(self, orientation: int) -> None:
        image = Image.effect_noise((84, 56), 80).convert("RGB")
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = decode(encoded(image, exif=exif), LIMITS)
        assert turned.size == ((84, 56) if orientation < 5 else (56, 84))
        assert (np.asarray(turned)[0, 0] == np.asarray(image)[0, 0]).all() == (
            orientation in (1, 5)
        )

    def test_the_first_frame_of_a_film(self) -> None:
        frames = [Image.new("RGB", (56, 56), colour) for colour in ("red", "blue")]
        data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
        assert pixels(data, LIMITS, SIZE)[0, 0].tolist() == [255, 0, 0]


#: What our limits refuse although Pillow's defaults decode it, by the file's name.
NOT_LISTED = {"avif__hopper.avif", "hopper.psd", "16bit.cropped.jp2", "hopper_16bit.pgm"}
TOO_LONG = {"made_extreme_aspect_30000x8.png"}
BOMBS = {"decompression_bomb.gif", "made_bomb_400MP_1bit.png"}


def test_difficult_files_either_decode_or_name_a_reason() -> None:
    if not NASTY.is_dir():
        pytest.skip(f"no folder {NASTY.name} beside the repository")
    with (NASTY / "manifest.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    limits = ImageLimits(base=str(NASTY / "files"))
    wrong = []
    for row in rows:
        name = row["file"]
        expected: str | None = None
        if name in BOMBS | TOO_LONG:
            expected = reasons.IMAGE_LIMIT
        elif row["result"] == "raises" or name in NOT_LISTED:
            expected = reasons.IMAGE_DECODE
        found: str | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                image = load_image(name, limits, SIZE)
            assert image.shape[2] == 3 and image.shape[0] % 28 == image.shape[1] % 28 == 0
            assert image.shape[0] * image.shape[1] <= SIZE.max_pixels
        except ImageError as error:
            found = error.code
        if found != expected:
            wrong.append(f"{name}: {found}, expected {expected}")
    assert len(rows) > 50 and not wrong, "\n".join(wrong)
