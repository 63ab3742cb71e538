"""What torch was built for, without importing it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from pipeline.machine import torch_cuda
from pipeline.machine.torch_build import cuda_in


def test_it_is_what_torch_itself_says(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = torch.version.cuda
    assert torch_cuda() == expected
    monkeypatch.delitem(sys.modules, "torch")
    assert torch_cuda() == expected
    assert "torch" not in sys.modules


@pytest.mark.parametrize(
    ("text", "cuda"),
    [
        ("cuda: Optional[str] = '13.0'\n", "13.0"),
        ("cuda = '12.8'\n", "12.8"),
        ("cuda: Optional[str] = None\n", None),
        ("__version__ = '2.13.0'\n", None),
        ("cuda = (\n", None),
    ],
)
def test_the_line_that_builds_write(tmp_path: Path, text: str, cuda: str | None) -> None:
    (tmp_path / "version.py").write_text(text)
    assert cuda_in(tmp_path / "version.py") == cuda
    assert cuda_in(tmp_path / "none.py") is None
