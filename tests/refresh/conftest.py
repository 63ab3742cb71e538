from __future__ import annotations

from pathlib import Path

import pytest

from tests.refresh.season import Season


@pytest.fixture
def season(tmp_path: Path) -> Season:
    """Nights of the counted family, in a folder of this test."""
    return Season(tmp_path)
