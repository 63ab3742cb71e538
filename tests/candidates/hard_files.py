"""Reads Parquet files and says what came of each, in a process with a limit on memory.

    python -m tests.candidates.hard_files FILE ...

A line for each file: its path, rows that were read or ``refused``, seconds, and the sentence. The
last line is the largest resident memory of the process in MiB.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from pipeline.errors import InputContractError
from pipeline.storage.parquet import read_footer, read_rows
from pipeline.storage.store import identify


def read(path: str) -> dict[str, object]:
    """Every row of every column, through the reader that units are read with."""
    begun = time.monotonic()
    found: dict[str, object] = {"path": path, "rows": None, "message": ""}
    try:
        footer = read_footer(identify(path))
        names = list(dict.fromkeys(footer.schema.names))
        rows = 0
        for batch in read_rows(path, 0, footer.rows, columns=names):
            batch.validate(full=True)
            rows += batch.num_rows
        found["rows"] = rows
    except InputContractError as error:
        found["message"] = str(error)
    return found | {"seconds": time.monotonic() - begun}


def main(paths: list[str]) -> None:
    """Entry point."""
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
    for path in paths:
        print(json.dumps(read(path)), flush=True)
    print(json.dumps(peak_mib()))


def peak_mib() -> int:
    """Largest resident memory of this program; getrusage would count its parent, too."""
    status = Path("/proc/self/status").read_text()
    [peak] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak) >> 10


if __name__ == "__main__":
    main(sys.argv[1:])
