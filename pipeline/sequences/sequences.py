"""Token sequences of a unit: flat, never padded, with the places at which they are read out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.sequences.arrays import Int32s, Int64s, pack_arrays, unpack_arrays
from pipeline.sequences.ragged import ragged_range


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """``S`` token sequences with ``R`` readouts in all, flat and never padded.

    Attributes:
        token_ids: int32 [T], the sequences one after the other.
        offsets: int64 [S + 1], where each begins and ends.
        segment_ids: int8 [T] token types, or None for models without them.
        readout_positions: int32 [R], token position inside the readout's own sequence.
        readout_offsets: int64 [S + 1], the readouts of each sequence.
        links: named int64 arrays by which the family's decode finds its way back from readouts to
            documents, such as ``document`` [N] -> readout.
        images: uint8 RGB arrays [height, width, 3] that sequences refer to through ``links``.
        rejected: documents (by place in the encoded lists) that cannot be encoded, such as a
            damaged image, each with its reason code; decode gives them NaN.
        parents: int64 [S], or None where no sequence shares its beginning. ``parents[s] = p`` says
            that ``s`` goes on where ``p`` ends: it sees all of ``p``, and its positions continue.
            Sequences that others go on after stand behind all others, have no parent themselves
            and no readouts; -1 is no parent.

    Two links are common to all families and optional: ``n_tokens`` [N], the tokens spent on each
    document, and ``truncated`` [N], 1 where some of its text was cut.
    """

    token_ids: Int32s
    offsets: Int64s
    readout_positions: Int32s
    readout_offsets: Int64s
    segment_ids: npt.NDArray[np.int8] | None = None
    links: Mapping[str, Int64s] = field(default_factory=dict)
    images: tuple[npt.NDArray[np.uint8], ...] = ()
    rejected: tuple[tuple[int, str], ...] = ()
    parents: Int64s | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64s:
        """int64 [S]: tokens of each sequence."""
        return np.diff(self.offsets)

    @property
    def leaves(self) -> int:
        """How many sequences are read out; those behind them are beginnings that they share."""
        if self.parents is None:
            return len(self)
        read = np.flatnonzero((self.parents >= 0) | (np.diff(self.readout_offsets) > 0))
        return int(read[-1]) + 1 if len(read) else 0

    def unshared(self) -> Sequences:
        """The same leaves with their beginnings written out, for networks that cannot share them.

        Readouts keep their order, so decode needs not know; links by leaf keep their meaning.
        """
        if self.parents is None:
            return self
        leaves = self.leaves
        parents = self.parents[:leaves]
        shared = np.where(parents >= 0, self.lengths[parents], 0)
        own = self.lengths[:leaves]
        first = np.where(parents >= 0, self.offsets[parents], 0)
        starts = np.column_stack([first, self.offsets[:leaves]]).ravel()
        tokens = ragged_range(starts, np.column_stack([shared, own]).ravel())
        readouts = np.diff(self.readout_offsets[: leaves + 1])
        shift = np.repeat(shared, readouts).astype(np.int32)
        return replace(
            self,
            token_ids=self.token_ids[tokens],
            offsets=np.append(0, np.cumsum(shared + own)),
            segment_ids=None if self.segment_ids is None else self.segment_ids[tokens],
            readout_positions=self.readout_positions + shift,
            readout_offsets=self.readout_offsets[: leaves + 1],
            parents=None,
        )

    def without_tokens(self) -> Sequences:
        """What is left to do once a network has read them: lengths, readouts and links."""
        return replace(
            self, token_ids=self.token_ids[:0], segment_ids=None, images=(), parents=None
        )

    @classmethod
    def one_readout_each(
        cls,
        token_ids: Int32s,
        offsets: Int64s,
        *,
        segment_ids: npt.NDArray[np.int8] | None = None,
        positions: Int32s | None = None,
        links: Mapping[str, Int64s] | None = None,
    ) -> Sequences:
        """Sequences that are read out once, at their first token unless ``positions`` [S] says."""
        count = len(offsets) - 1
        return cls(
            token_ids=token_ids,
            offsets=offsets,
            segment_ids=segment_ids,
            readout_positions=np.zeros(count, np.int32) if positions is None else positions,
            readout_offsets=np.arange(count + 1, dtype=np.int64),
            links=links or {},
        )

    def to_ipc(self) -> bytes:
        """Flat Arrow columns, one array a row, as an IPC stream."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "token_ids": self.token_ids,
            "offsets": self.offsets,
            "readout_positions": self.readout_positions,
            "readout_offsets": self.readout_offsets,
        }
        if self.segment_ids is not None:
            arrays["segment_ids"] = self.segment_ids
        if self.parents is not None:
            arrays["parents"] = self.parents
        arrays |= {f"link:{name}": values for name, values in self.links.items()}
        arrays |= {f"image:{i:08d}": image for i, image in enumerate(self.images)}
        arrays |= {
            f"rejected:{code}": np.array([d for d, c in self.rejected if c == code])
            for code in {code for _, code in self.rejected}
        }
        return pack_arrays(arrays)

    @classmethod
    def from_ipc(cls, payload: bytes | pa.Buffer) -> Sequences:
        """The inverse of :meth:`to_ipc`; arrays are views of ``payload``."""
        arrays = unpack_arrays(payload)
        links = {n.removeprefix("link:"): a for n, a in arrays.items() if n.startswith("link:")}
        images = tuple(arrays[name] for name in sorted(arrays) if name.startswith("image:"))
        rejected = [
            (int(document), name.removeprefix("rejected:"))
            for name, documents in arrays.items()
            if name.startswith("rejected:")
            for document in documents
        ]
        return cls(
            token_ids=arrays["token_ids"],
            offsets=arrays["offsets"],
            readout_positions=arrays["readout_positions"],
            readout_offsets=arrays["readout_offsets"],
            segment_ids=arrays.get("segment_ids"),
            links=links,
            images=images,
            rejected=tuple(sorted(rejected)),
            parents=arrays.get("parents"),
        )
