"""A family that says of itself that a score depends on the whole list."""

from __future__ import annotations

from pipeline.rerankers.lexical import Lexical


class Listed(Lexical):
    """Scores as its base does, but is only ever asked for whole lists."""

    pointwise = False
