"""What a file is that should be Parquet and is not: told by how it begins."""

from __future__ import annotations

from typing import Final

#: How files of other formats begin, what they are, and what to do.
_BEGINNINGS: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"\x1f\x8b", "compressed with gzip", "decompress it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "decompress it"),
    (b"BZh", "compressed with bzip2", "decompress it"),
    (b"\xfd7zXZ\x00", "compressed with xz", "decompress it"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "decompress it"),
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"ARROW1", "an Arrow IPC (Feather) file", "write it with pyarrow.parquet.write_table"),
    (b"FEA1", "a Feather file", "write it with pyarrow.parquet.write_table"),
    (b"\xff\xff\xff\xff", "an Arrow IPC stream", "write it with pyarrow.parquet.write_table"),
    (b"ORC", "an ORC file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"SQLite format 3\x00", "an SQLite database", "export the table as Parquet"),
    (b"\x89HDF", "an HDF5 file", "write it as Parquet"),
    (b"\x93NUMPY", "a NumPy file", "write it as Parquet"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
)

_TEXT_HINT: Final = (
    "write it as Parquet, for example with DuckDB: COPY (SELECT * FROM {}) TO 'x.parquet'"
)


def other_format(head: bytes) -> str | None:
    """What a file that begins with ``head`` is and how to make Parquet of it; None: unknown."""
    known = binary_format(head)
    if known is not None:
        name, remedy = known
        return f"it is {name}, another format than Parquet; {remedy}"
    return _text_format(head)


def binary_format(head: bytes) -> tuple[str, str] | None:
    """Name of the format that a file of ``head`` is in, and what to do; None: text, or unknown."""
    for beginning, name, remedy in _BEGINNINGS:
        if head.startswith(beginning):
            return name, remedy
    return ("a tar archive", "unpack it") if head[257:262] == b"ustar" else None


def _text_format(head: bytes) -> str | None:
    """The same for text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is text in UTF-16, another format than Parquet; write it as Parquet"
    try:
        # A character may be cut at the end of what was read.
        text = head.decode("utf-8-sig", errors="strict" if len(head) < 4 else "ignore")
    except UnicodeDecodeError:
        return None
    if "\0" in text or len(text.encode()) < 0.9 * len(head) or not text.strip():
        return None
    line = text.lstrip().splitlines()[0]
    if line.startswith(("{", "[")):
        name, reader = "JSON", "read_json_auto('x.jsonl')"
    elif line.startswith("<"):
        return "it is HTML or XML, another format than Parquet; was it downloaded from a page?"
    elif "\t" in line:
        name, reader = "tab-separated text", "read_csv_auto('x.tsv')"
    elif "," in line:
        name, reader = "comma-separated text", "read_csv_auto('x.csv')"
    else:
        return "it is text, another format than Parquet; write it as Parquet"
    return f"it is {name}, another format than Parquet; {_TEXT_HINT.format(reader)}"
