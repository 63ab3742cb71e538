"""Operations cut into pieces that an engine takes in one request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def cut(
    operations: Iterable[bytes],
    *,
    max_bytes: int,
    max_rows: int,
    framing: int = 0,
    separator: int = 0,
) -> Iterator[list[bytes]]:
    """The operations in order, in pieces that are full but for the last; none is without any.

    Args:
        operations: encoded, one a row.
        max_bytes: of a piece. One operation that is larger is a piece of its own.
        max_rows: operations of a piece.
        framing: bytes that a piece has beside its operations.
        separator: bytes between two operations.
    """
    piece: list[bytes] = []
    size = framing
    for operation in operations:
        more = len(operation) + (separator if piece else 0)
        if piece and (size + more > max_bytes or len(piece) >= max_rows):
            yield piece
            piece, size, more = [], framing, len(operation)
        piece.append(operation)
        size += more
    if piece:
        yield piece
