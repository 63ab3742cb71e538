"""What is said of the installed Ray, and of what a local one needs of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.doctor import ray_here
from pipeline.doctor.examine import _Defaults


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


def test_a_machine_that_does_not_reach_itself_is_no_place_for_ray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_here, "_LOOPBACK", "203.0.113.77")  # of nobody (RFC 5737)
    [found] = ray_here.reachable(_Defaults(), start=False)
    assert found.state == "problem"
    assert "does not reach itself at 203.0.113.77" in found.found
    assert "ip link set lo up" in found.to_do
