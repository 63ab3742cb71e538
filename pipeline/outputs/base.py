"""What a sink is: the ranked rows of a unit become the bytes of one file of a format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa


class Sink(ABC):
    """One output format: a file of this folder with one subclass in it; the file's name is its own.

    A sink is pure: the same rows give the same bytes, it reads no clock, no host name and no
    setting, and it touches no storage. ``execution`` puts the bytes beside the run's ranked
    Parquet, in a folder that is named like the format.
    """

    #: Ending of the files, with its dot: lower-case letters and digits, such as ``.trec``.
    suffix: ClassVar[str]
    #: Raised when the bytes change for the same rows. It belongs to the fingerprint of every run
    #: with this format, so that files of two versions never lie in one run.
    version: ClassVar[int] = 1
    #: Whether what :meth:`write` gives for the rows of several units, one after the other, is right
    #: for all of them: then ``rerank export`` can write a whole run as one file.
    joinable: ClassVar[bool] = False
    #: What :meth:`held` leaves out, for people; empty where it is nothing.
    leaves_out: ClassVar[str] = ""

    def held(self, rows: pa.Table) -> pa.Table:
        """The rows that the format holds, in order; the manifest counts them.

        Args:
            rows: as in :meth:`write`.
        """
        return rows

    def heading(self, rows: pa.Table) -> bytes:
        """What stands once at the start of a file, such as names of columns; nothing unless given.

        Args:
            rows: as in :meth:`write`; the columns count, not the rows.
        """
        return b""

    def file(self, rows: pa.Table, about: Mapping[str, str]) -> bytes:
        """The bytes of one file: the heading and the rows, as :meth:`write` gives them."""
        return self.heading(rows) + self.write(rows, about)

    @abstractmethod
    def write(self, rows: pa.Table, about: Mapping[str, str]) -> bytes:
        """The bytes of some rows, without the heading.

        Args:
            rows: [N] of :func:`pipeline.schema.ranked_schema` and further columns, by list and
                rank, as :meth:`held` gives them; N may be 0.
            about: what every file of the run says about itself: ``run_id``, ``unit``, ``model``,
                ``score_scale`` and others.

        Raises:
            InputContractError: a value cannot be written in this format; names it.
        """
