"""How much a Parquet file may become when it is decoded: a limit against decompression bombs.

A file of a few kilobytes can hold gigabytes of equal text. Honest files shrink too, but not like
that, so what is held against a limit is the ratio, and only of what is large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.errors import InputContractError

#: Decoded bytes that are never refused: what a worker has room for beside everything else.
FREE_BYTES: Final = 128 * 2**20

#: Default of ``input.max_expansion``. Text shrinks to a third or a tenth, lists that share their
#: documents to a fiftieth; a bomb to a thousandth and less.
MAX_EXPANSION: Final = 100.0


class ExpansionError(InputContractError):
    """Decoding would make far more of a file than is stored."""


@dataclass(kw_only=True)
class DecodeBudget:
    """What one reader, such as a unit, has decoded and kept so far.

    Attributes:
        max_expansion: decoded bytes per stored byte past which more than :data:`FREE_BYTES` are
            refused.
        keeps: whether the reader keeps the rows of one batch when it asks for the next.
        stored: bytes in files of what was decoded.
        kept: decoded bytes that are still in memory.
    """

    max_expansion: float = MAX_EXPANSION
    keeps: bool = True
    stored: int = 0
    kept: int = 0

    def add(self, decoded: int, where: str) -> None:
        """Count a decoded batch.

        Raises:
            ExpansionError: it is too much.
        """
        self.refuse(decoded, where)
        if self.keeps:
            self.kept += decoded

    def refuse(self, decoded: int, where: str) -> None:
        """Judge what is about to be decoded beside what is kept.

        Args:
            decoded: bytes.
            where: the file, for the message.

        Raises:
            ExpansionError: it is too much for what is stored.
        """
        refuse_expansion(self.kept + decoded, self.stored, where, limit=self.max_expansion)


def refuse_expansion(decoded: int, stored: int, where: str, *, limit: float) -> None:
    """Refuse what decodes to far more than is stored.

    Raises:
        ExpansionError: ``decoded`` is over :data:`FREE_BYTES` and over ``limit`` times ``stored``.
    """
    if decoded <= FREE_BYTES or decoded <= limit * stored:
        return
    raise ExpansionError(
        f"{where}: {stored:,} stored bytes would become at least {decoded / 2**20:,.0f} MiB in "
        f"memory, more than input.max_expansion = {limit:g} times as much; a file like that is "
        "refused as a decompression bomb. If it is what it should be, raise input.max_expansion "
        "and give workers the memory, or lower units.documents"
    )
