from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipeline.storage.sealed_files import read_or_remove
from pipeline.storage.seals import sealed_json


def test_a_damaged_file_counts_as_none_and_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "record.json"
    assert read_or_remove(str(path), most_bytes=1000) is None
    path.write_bytes(sealed_json({"rows": 3}))
    found = read_or_remove(str(path), most_bytes=1000)
    assert found is not None and found["rows"] == 3
    path.write_bytes(path.read_bytes().replace(b"3", b"4", 1))
    with caplog.at_level(logging.WARNING, logger="pipeline"):
        assert read_or_remove(str(path), most_bytes=1000) is None
    assert not path.exists()
    assert "made anew" in caplog.text
