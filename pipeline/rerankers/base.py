"""The one abstraction that everything hangs on: encode, forward, decode.

``encode`` and ``decode`` are pure and run on CPU workers without torch; ``forward`` runs on the
device and sees nothing but flat batches of sequences. Batching, packing, back-off and progress are
written once, in the engine, for every family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config import Settings
from pipeline.networks.network_config import refuse_quantised
from pipeline.sequences.ragged import ragged_range

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


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


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some of a unit's sequences, flat, for one forward pass.

    Attributes:
        token_ids: int32 [t].
        offsets: int64 [b + 1].
        segment_ids: int8 [t] or None.
        readout_positions: int32 [r], inside the readout's own sequence.
        readout_sequences: int64 [r], which of the ``b`` sequences each readout is in.
        chosen: int64 [b], the place of each sequence in :attr:`sequences`.
        sequences: the whole unit, for families that need links or images.
        device: where the forward pass runs.
        parents: int64 [b], the place in this batch of the sequence that each goes on after, or -1;
            None where no sequence of the batch has one. Parents come first, then the others, those
            of one parent together.
    """

    token_ids: Int32s
    offsets: Int64s
    segment_ids: npt.NDArray[np.int8] | None
    readout_positions: Int32s
    readout_sequences: Int64s
    chosen: Int64s
    sequences: Sequences
    device: torch.device
    parents: Int64s | None = None

    @property
    def lengths(self) -> Int64s:
        """int64 [b]: tokens of each sequence."""
        return np.diff(self.offsets)


class Reranker(ABC):
    """A model family. One file holds one subclass, found by the file's name.

    The constructor must be cheap and free of torch: CPU workers build the same object as GPU
    replicas and only the latter call :meth:`load`. A family that reads a checkpoint is a
    :class:`WeightedReranker`.

    Attributes:
        Settings: what ``model.settings`` may hold for this family.
        score_scale: logit, cosine, dot, maxsim, probability, preference or overlap; goes into
            the output.
        template: version of prompt and assembly; part of the fingerprint.
        pointwise: whether a score depends on nothing but the texts and images of its query and its
            document. Equal pairs then go through the model once and share the score. False where a
            document is read beside others of its list.
        can_pack: whether the network takes sequences of different lengths without padding.
        shares_prefixes: whether the packed network understands :attr:`Batch.parents`; the engine
            writes shared beginnings out for those that do not.
        packed: whether the loaded network is given them so; as :meth:`load` was told.
    """

    Settings: ClassVar[type[Settings]] = Settings
    score_scale: str = "logit"
    template: ClassVar[str] = "1"
    pointwise: ClassVar[bool] = False
    can_pack: bool = False
    shares_prefixes: bool = False
    packed: bool = False

    def __init__(self, *, settings: Any) -> None:
        self.settings = settings

    def load(self, *, device: torch.device, dtype: torch.dtype, packed: bool) -> None:
        """Make this object the one that :meth:`forward` is called on.

        Args:
            device: where its batches will be.
            dtype: precision of the network's body.
            packed: whether batches are taken without padding; only where :attr:`can_pack`.

        Raises:
            ModelError: a tensor is missing, unexpected or of the wrong shape.
        """
        self.packed = packed
        self.load_network(device=device, dtype=dtype)

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:  # noqa: B027
        """Put the network on the device; :attr:`packed` is set. Nothing, where there is none.

        Raises:
            ModelError: a tensor is missing, unexpected or of the wrong shape.
        """

    @abstractmethod
    def encode(self, lists: CandidateLists) -> Sequences:
        """Candidate lists of one unit (every document scoreable) become token sequences."""

    @abstractmethod
    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [r, D]: one row per readout of the batch, on the device, without a sync."""

    def next_round(
        self, lists: CandidateLists, sequences: Sequences, readouts: Floats
    ) -> Sequences | None:
        """Another round of sequences, or None when ``readouts`` are the last.

        Methods that decide what to ask next from what they were told (sliding windows,
        tournaments) carry their state in the links of the sequences they return; decode sees the
        last round only. The engine interleaves the rounds of all queries of a unit.
        """
        return None

    @abstractmethod
    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """float32 [N]: one raw score per document from readouts [R, D]; NaN where there is none."""


class WeightedReranker(Reranker):
    """A model family that reads a checkpoint: ``model.weights`` is required.

    Attributes:
        checkpoint: its files; the constructor reads small ones, :meth:`load_network` the weights.
    """

    def __init__(self, *, checkpoint: Checkpoint, settings: Any) -> None:
        """Take a checkpoint and settings.

        Raises:
            ModelError: the checkpoint's weights are quantised, which no family reads.
        """
        super().__init__(settings=settings)
        refuse_quantised(checkpoint)
        self.checkpoint = checkpoint

    @abstractmethod
    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Put the checkpoint's network on the device; :attr:`packed` is set.

        Raises:
            ModelError: a tensor is missing, unexpected or of the wrong shape.
        """


def pack_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Named numpy arrays of any shape as one Arrow IPC stream of tensors' raw bytes."""
    table = pa.table(
        {
            "name": pa.array(list(arrays), pa.string()),
            "dtype": pa.array([str(array.dtype) for array in arrays.values()], pa.string()),
            "shape": pa.array([list(a.shape) for a in arrays.values()], pa.list_(pa.int64())),
            "data": pa.array(
                [np.ascontiguousarray(array).tobytes() for array in arrays.values()],
                pa.large_binary(),
            ),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def unpack_arrays(payload: bytes | pa.Buffer) -> dict[str, npt.NDArray[Any]]:
    """The inverse of :func:`pack_arrays`; arrays are read-only views of ``payload``."""
    with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
        table = reader.read_all()
    arrays = {}
    for name, dtype, shape, data in zip(*(table.column(i) for i in range(4)), strict=True):
        flat = np.frombuffer(data.as_buffer(), dtype=dtype.as_py())
        arrays[name.as_py()] = flat.reshape(shape.as_py())
    return arrays
