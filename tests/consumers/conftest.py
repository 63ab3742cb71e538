from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import RayConfig
from pipeline.distillation.sets.exports import export_set
from tests.distillation.formats.makers import small_set, tiny_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    return tiny_checkpoint(tmp_path / "checkpoint")


@pytest.fixture
def exported(tmp_path: Path) -> Callable[..., str]:
    """Folder of an export of a small set."""
    folder = small_set(tmp_path / "set")

    def export(name: str, **options: Any) -> str:
        return export_set(str(folder), name, options, ray=RayConfig(mode="in_process")).folder

    return export
