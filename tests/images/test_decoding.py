"""Pixels bit-equal to Qwen2-VL's Pillow path, and images that must not get through."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from safetensors.numpy import load_file

from pipeline.images import decoding
from pipeline.images.decoding import (
    DamagedError,
    ImageSize,
    TooLargeError,
    decode,
    most_pixels,
    resized,
    webp_canvas,
)

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/goldens/jina-reranker-m0"
EXPECTED = [
    json.loads(line) for line in (GOLDEN / "images_expected.jsonl").read_text().splitlines()
]
ACCEPTED = [case for case in EXPECTED if "error" not in case]

MOST = 100_000_000
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


def pixels(data: bytes, size: ImageSize = SIZE) -> np.ndarray:
    """uint8 RGB [height, width, 3] of an encoded image."""
    return np.asarray(resized(data, size, max_pixels=MOST))


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(normalised_patches(image).tobytes()).hexdigest()


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


class TestPixels:
    @pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case["image"])
    def test_bit_equal_to_the_published_processor(self, case: dict[str, Any]) -> None:
        if "gray16" in case["image"] and int(Image.__version__.split(".")[0]) < 13:
            pytest.skip("Pillow before 13 converts 16-bit grey in another way")
        image = pixels(golden(case["image"]))
        assert image.dtype == np.uint8
        assert list(image.shape[:2]) == case["resized_hw"]
        assert digest(image) == case["float32_sha256"]

    def test_whole_arrays(self) -> None:
        for name, expected in load_file(GOLDEN / "pixel_values_small.safetensors").items():
            image = pixels(golden(f"images/{name}"))
            assert np.array_equal(normalised_patches(image), expected)

    def test_refused_by_the_published_processor(self) -> None:
        refused = [case for case in EXPECTED if "error" in case]
        assert len(refused) == 1
        with pytest.raises(TooLargeError, match="one side is over 200 times the other"):
            pixels(golden(refused[0]["image"]))

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


class TestStepsOfQwenVlUtils:
    """As ``fetch_image`` and ``smart_resize`` of qwen_vl_utils 0.0.14."""

    SIZE = ImageSize(factor=32, min_pixels=4096, max_pixels=1_310_720, steps="qwen_vl_utils")

    @pytest.mark.parametrize("name", ["exif_rot90_160x90", "palette_transparent_220x140"])
    def test_orientation_and_palettes_are_left_alone(self, name: str) -> None:
        data = golden(f"images/{name}.png")
        image = Image.open(io.BytesIO(data)).convert("RGB")
        height, width = self.SIZE.fit(image.height, image.width)
        assert np.array_equal(pixels(data, self.SIZE), np.asarray(image.resize((width, height))))

    def test_transparent_colour_is_laid_on_white(self) -> None:
        data = golden("images/rgba_180x150.png")
        image = Image.open(io.BytesIO(data))
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.split()[3])
        height, width = self.SIZE.fit(image.height, image.width)
        assert np.array_equal(pixels(data, self.SIZE), np.asarray(white.resize((width, height))))

    @pytest.mark.parametrize(
        ("height", "width", "expected"),
        [(15, 2_900, (32, 2_912)), (16, 100, (32, 160)), (80, 48, (64, 64))],
    )
    def test_sides(self, height: int, width: int, expected: tuple[int, int]) -> None:
        assert self.SIZE.fit(height, width) == expected


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

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("path", "size"),
        [
            ("images/big_3000x2000.png", ImageSize(max_pixels=12_845_056)),
            ("images/small_28x28.png", ImageSize(min_pixels=784)),
        ],
    )
    def test_pixel_limits(self, path: str, size: ImageSize) -> None:
        assert digest(pixels(golden(path), size)) != self.expected(path)

    def test_reduced_decoding_of_jpeg(self) -> None:
        photo = Image.open(GOLDEN / "images/photo_640x480.png").convert("RGB")
        data = encoded(photo, "JPEG", quality=90)
        size = ImageSize(max_pixels=28 * 28 * 20)
        whole = pixels(data, size)
        reduced = Image.open(io.BytesIO(data))
        reduced.draft("RGB", (whole.shape[1], whole.shape[0]))
        assert reduced.size < photo.size
        found = reduced.resize((whole.shape[1], whole.shape[0]), Image.Resampling.BICUBIC)
        assert not np.array_equal(np.asarray(found), whole)

    def test_rounding_half_up(self) -> None:
        path = "images/halfway_70x42.png"
        image = Image.open(GOLDEN / path).convert("RGB").resize((56, 84), Image.Resampling.BICUBIC)
        assert digest(np.asarray(image)) != self.expected(path)

    @staticmethod
    def expected(path: str) -> str:
        return next(str(c["float32_sha256"]) for c in EXPECTED if c["image"] == path)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def webp_header(width: int, height: int, chunk: bytes) -> bytes:
    """A WEBP that claims a size and holds next to nothing."""
    body = {
        b"VP8X": bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"),
        b"VP8L": b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little"),
        b"VP8 ": b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height),
    }[chunk]
    body += bytes(16)
    data = chunk + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data


class TestLimits:
    @pytest.mark.parametrize(
        ("width", "height"), [(20_000, 20_000), (12_000, 12_000), (40_000, 300)]
    )
    def test_bombs_are_refused_by_their_header(self, width: int, height: int) -> None:
        with pytest.raises(TooLargeError, match=rf"{width} x {height}|exceeds limit"):
            decode(png_header(width, height), max_pixels=MOST)

    @pytest.mark.parametrize("chunk", [b"VP8X", b"VP8L", b"VP8 "])
    def test_a_webp_is_judged_before_its_canvas_is_made(self, chunk: bytes) -> None:
        with pytest.raises(TooLargeError, match=r"16383 x 10000 \(WEBP\)"):
            decode(webp_header(16_383, 10_000, chunk), max_pixels=10**9)
        with pytest.raises(DamagedError):
            decode(webp_header(100, 100, chunk), max_pixels=MOST)

    @pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0"}])
    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    def test_the_size_that_a_webp_states(self, mode: str, options: dict[str, Any]) -> None:
        data = encoded(Image.new(mode, (123, 45), "red"), "WEBP", **options)
        assert webp_canvas(data) == (123, 45)
        assert webp_canvas(data[:29]) is None

    def test_the_same_header_within_the_limit_is_decoded_and_found_damaged(self) -> None:
        with pytest.raises(DamagedError):
            decode(png_header(2_000, 2_000), max_pixels=MOST)

    def test_limits_are_settable_and_inclusive(self) -> None:
        data = encoded(Image.new("RGB", (60, 50)))
        assert decode(data, max_pixels=3_000).size == (60, 50)
        with pytest.raises(TooLargeError, match=r"input\.images\.max_pixels is 2999"):
            decode(data, max_pixels=2_999)

    def test_memory_limits_each_format_by_what_its_decoder_takes(self) -> None:
        most = {kind: most_pixels(kind) for kind in ("JPEG", "JPEG with four bands", "PNG", "WEBP")}
        assert most == {
            "JPEG": 102_341_017,
            "JPEG with four bands": 85_284_181,
            "PNG": 113_712_241,
            "WEBP": 56_856_120,
        }
        assert most_pixels("JPEG", 10**8) == most["JPEG"] - 2 * 10**7

    def test_four_bands_count_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(decoding, "MEMORY", decoding.MEMORY >> 4)
        found = {}
        for mode in ("L", "RGB", "CMYK"):
            sink = encoded(Image.new(mode, (1_000, 1_500)), "JPEG")
            try:
                found[mode] = decode(sink, max_pixels=MOST).size
            except TooLargeError as error:
                found[mode] = str(error).partition(")")[0]
        assert found == {
            "L": (1_000, 1_500),
            "RGB": (1_000, 1_500),
            "CMYK": "1000 x 1500 (JPEG with four bands",
        }

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"<html>not found</html>",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            encoded(Image.new("RGB", (64, 64)))[:-40],
            encoded(Image.effect_noise((64, 64), 50), "JPEG")[:-300],
            *(
                encoded(Image.new("RGB", (64, 64)), kind)
                for kind in ("JPEG2000", "GIF", "BMP", "TIFF", "PPM", "ICO")
            ),
        ],
    )
    def test_what_is_no_image_or_of_another_format(self, data: bytes) -> None:
        with pytest.raises(DamagedError):
            pixels(data)

    def test_every_mode_becomes_rgb(self) -> None:
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            image = pixels(encoded(Image.new(mode, (57, 31))))
            assert image.shape == (56, 84, 3), mode
        assert pixels(encoded(Image.new("CMYK", (57, 31)), "JPEG")).ndim == 3

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_orientation(self, orientation: int) -> None:
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (56, 84, 3), np.uint8))
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = decode(encoded(image, exif=exif), max_pixels=MOST)
        assert turned.size == ((84, 56) if orientation < 5 else (56, 84))
        assert (np.asarray(turned)[0, 0] == np.asarray(image)[0, 0]).all() == (
            orientation in (1, 5)
        )

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_the_first_frame_of_a_film(self, kind: str) -> None:
        frames = [Image.new("RGB", (56, 56), colour) for colour in ("red", "blue")]
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert Image.open(io.BytesIO(data)).n_frames == 2
        assert pixels(data)[0, 0].tolist() == [255, 0, 0]
