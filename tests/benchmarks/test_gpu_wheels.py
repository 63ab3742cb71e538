from __future__ import annotations

import zipfile
from pathlib import Path

from benchmarks.gpu_wheels import LEFT_OUT, without


def test_a_wheel_without_some_of_its_parts_is_the_same_otherwise(tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.whl", tmp_path / "part.whl"
    program = zipfile.ZipInfo("ray/core/raylet")
    program.external_attr = 0o100755 << 16
    with zipfile.ZipFile(whole, "w") as wheel:
        wheel.writestr(program, b"\x7fELF" + bytes(3_000_000))
        wheel.writestr("ray/jars/ray.jar", "java")
        wheel.writestr("ray/data.py", "x = 1")
    without(whole, part, LEFT_OUT)
    with zipfile.ZipFile(part) as wheel:
        assert wheel.namelist() == ["ray/core/raylet", "ray/data.py"]
        assert wheel.read("ray/data.py") == b"x = 1"
        found = wheel.getinfo("ray/core/raylet")
        assert found.external_attr == program.external_attr
        assert (found.file_size, found.compress_type) == (3_000_004, zipfile.ZIP_LZMA)
