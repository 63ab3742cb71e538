"""What a machine that only measures lacks, as wheels that are small enough to be taken along.

::

    python -m benchmarks.gpu_wheels wheels        # then benchmarks/gpu.sh there, which unpacks them

Ray's wheel has parts that no run of ours touches: Java, its dashboard's pages, RLlib. Without them,
and with its programs compressed by LZMA, it is two fifths as large: 31 MiB.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated, Final

import typer

#: What such a machine lacks of what ``benchmarks/gpu.sh`` needs, with what these need.
PACKAGES: Final = (
    "pydantic", "pydantic-core", "annotated-types", "typing-inspection",
    "ray", "jsonschema", "jsonschema-specifications", "referencing", "rpds-py",
)  # fmt: skip

#: Beginnings of names that are left out of Ray's wheel.
LEFT_OUT: Final = ("ray/jars/", "ray/dashboard/client/", "ray/rllib/")

#: Bytes of a file from which on the better compression is worth its time.
_LARGE: Final = 2**20

_ROOT: Final = Path(__file__).resolve().parents[1]


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the wheels.")],
    python: Annotated[str, typer.Option(help="Version of the machine's Python.")] = "3.12",
    platform: Annotated[list[str] | None, typer.Option(help="Of its system; repeatable.")] = None,
) -> None:
    """Fetch the wheels with pip, in the versions of constraints.txt, and make Ray's smaller."""
    platforms = platform or [
        "manylinux_2_28_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
    ]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", python, "--dest", folder]
        command += [word for each in platforms for word in ("--platform", each)]
        subprocess.run([*command, "-c", _ROOT / "constraints.txt", *PACKAGES], check=True)
        out.mkdir(parents=True, exist_ok=True)
        for wheel in sorted(Path(folder).glob("*.whl")):
            without(wheel, out / wheel.name, LEFT_OUT)
    size = sum(wheel.stat().st_size for wheel in out.glob("*.whl"))
    print(f"{out}: {size / 2**20:.1f} MiB")


def without(wheel: Path, to: Path, left_out: tuple[str, ...]) -> None:
    """Write a wheel once more, but for files whose names begin in some way."""
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as part:
        for entry in whole.infolist():
            if not entry.filename.startswith(left_out):
                packed = zipfile.ZIP_LZMA if entry.file_size > _LARGE else zipfile.ZIP_DEFLATED
                part.writestr(entry, whole.read(entry), compress_type=packed)


if __name__ == "__main__":
    typer.run(main)
