"""Offline distributed reranking: candidate lists in, ranked and scored lists out.

``from pipeline import load`` gives the reranker without Ray, for notebooks and tests, and
``from pipeline import latest`` the rows that were published last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.api import load
    from pipeline.refresh.publications.latest import latest

__version__ = "0.1.0"
__all__ = ["__version__", "latest", "load"]


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import; `rerank --help` must not pay for it.
    if name == "load":
        from pipeline.api import load

        return load
    if name == "latest":
        from pipeline.refresh.publications.latest import latest

        return latest
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
