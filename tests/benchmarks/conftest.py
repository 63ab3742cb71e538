from __future__ import annotations

from tests.fixtures_bench import cache, subject

__all__ = ["cache", "subject"]
