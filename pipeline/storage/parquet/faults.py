"""What is wrong with a file that should be readable Parquet, said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from pipeline.errors import InputContractError
from pipeline.storage.parquet.footer import EncryptedError, FooterError
from pipeline.storage.parquet.formats import other_format
from pipeline.storage.parquet.thrift import ThriftError


class UnreadableError(InputContractError):
    """The bytes of a file are not the Parquet that they should be."""


@contextmanager
def explained(path: str, size: int | None = None) -> Iterator[None]:
    """Turn what Arrow and our own readers raise over a file's bytes into one sentence.

    Args:
        path: the file, for the message.
        size: its bytes, where they are known: an empty file is called empty.

    Raises:
        InputContractError: the file cannot be read; an :class:`UnreadableError` unless it is
            encrypted.
        OSError: the store failed, not the file.
    """
    try:
        yield
    except EncryptedError as error:
        raise encrypted_error(path) from error
    except (pa.ArrowException, OSError, ThriftError, FooterError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError):
            raise  # the store failed, not the file: Arrow's own decoding errors carry no errno
        if size == 0:
            raise empty_error(path) from error
        reason = str(error).split("\n")[0].rstrip(".")
        raise UnreadableError(
            f"{path}: not readable as Parquet ({reason}); the file is cut off, damaged or of "
            "another format: write it again"
        ) from error


def no_footer_error(path: str, head: bytes, size: int) -> UnreadableError:
    """The refusal of a file of ``size`` bytes that begins with ``head`` and ends in no footer."""
    if head.startswith(b"PAR1"):
        return UnreadableError(
            f"{path}: not readable as Parquet (it begins as Parquet, but its footer is missing); "
            "the file is cut off, damaged, or was still being written: write it again"
        )
    known = other_format(head)
    if known is not None:
        return UnreadableError(f"{path}: not Parquet: {known}")
    return UnreadableError(
        f"{path}: not readable as Parquet (no magic number in {size:,} bytes); the file is cut "
        "off, damaged or of another format: write it again"
    )


def empty_error(path: str) -> UnreadableError:
    """The refusal of a file without a byte."""
    return UnreadableError(f"{path}: the file is empty (0 bytes); delete it or write it again")


def encrypted_error(path: str) -> InputContractError:
    """The refusal of a file that is encrypted, wholly or in part."""
    return InputContractError(
        f"{path}: the file is encrypted, and encrypted Parquet is not read; write it without "
        "encryption, on storage that encrypts by itself where it must be"
    )
