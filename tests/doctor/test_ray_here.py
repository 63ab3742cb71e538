"""What is said of the installed Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.doctor import ray_here


def test_a_package_that_slows_every_process_of_ray_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [found for found in ray_here.installed() if "rfc3987" in found.found]
    (tmp_path / "rfc3987_syntax").mkdir()
    (tmp_path / "rfc3987_syntax" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    [found] = [found for found in ray_here.installed() if "rfc3987" in found.found]
    assert found.state == "note"
    assert "jsonschema[format-nongpl]" in found.to_do
