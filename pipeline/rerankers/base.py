"""The one abstraction that everything hangs on: encode, forward, decode.

``encode`` and ``decode`` are pure and run on CPU workers without torch; ``forward`` runs on the
device and sees nothing but flat batches of sequences. Batching, packing, back-off and progress are
written once, in the engine, for every family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.config import ImagesConfig, Settings
from pipeline.networks.network_config import refuse_quantised
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.tokenization.marked_texts import MarkedTexts


class Reranker(ABC):
    """A model family. One file holds one subclass, found by the file's name.

    The constructor must be cheap and free of torch: CPU workers build the same object as GPU
    replicas and only the latter call :meth:`load`. A family that reads a checkpoint is a
    :class:`WeightedReranker`.

    Attributes:
        Settings: what ``model.settings`` may hold for this family.
        score_scale: logit, probability, expected_grade, cosine, dot, euclidean, manhattan
            (distances, negated), maxsim, meanmaxsim, preference or overlap; goes into the output.
        template: version of prompt and assembly; part of the fingerprint.
        pointwise: whether a score depends on nothing but the texts and images of its query and its
            document. Equal pairs then go through the model once and share the score. False where a
            document is read beside others of its list.
        can_pack: whether the network takes sequences of different lengths without padding.
        shares_prefixes: whether the packed network understands :attr:`Batch.parents`; the engine
            writes shared beginnings out for those that do not.
        numpy_only: whether :meth:`forward` computes in NumPy and gives an array. Nothing is loaded
            then, and no process imports torch.
        reads_images: whether the ``image`` columns are read.
        images: from where and how large, as the job says; nothing but bytes until it is set.
        packed: whether the loaded network is given them so; as :meth:`load` was told.
    """

    Settings: ClassVar[type[Settings]] = Settings
    score_scale: str = "logit"
    template: ClassVar[str] = "1"
    pointwise: ClassVar[bool] = False
    can_pack: bool = False
    shares_prefixes: bool = False
    numpy_only: ClassVar[bool] = False
    reads_images: ClassVar[bool] = False
    images: ImagesConfig = ImagesConfig()
    packed: bool = False

    def __init_subclass__(cls) -> None:
        """A family that loads something is given torch's device and dtype, whatever its base is."""
        super().__init_subclass__()
        own = vars(cls)
        if "numpy_only" not in own and ("load" in own or "load_network" in own):
            cls.numpy_only = False

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

    @property
    def marked_texts(self) -> MarkedTexts | None:
        """Finds texts in which special tokens act as such; None where every text is text.

        By what families keep as ``tokenizer``, which tokenises texts or has what does as ``texts``.
        """
        tokenizer = getattr(self, "tokenizer", None)
        texts = getattr(tokenizer, "texts", tokenizer)
        found: MarkedTexts | None = getattr(texts, "marked_texts", None)
        return found

    @abstractmethod
    def encode(self, lists: CandidateLists) -> Sequences:
        """Candidate lists of one unit (every document scoreable) become token sequences."""

    @abstractmethod
    def forward(self, batch: Batch) -> torch.Tensor | Floats:
        """float32 [r, D]: one row per readout of the batch, on the device, without a sync.

        An array where :attr:`numpy_only`, else a tensor.
        """

    def next_round(
        self, lists: CandidateLists, sequences: Sequences, readouts: Floats
    ) -> Sequences | None:
        """Another round of sequences, or None when ``readouts`` are the last.

        Methods that decide what to ask next from what they were told (sliding windows,
        tournaments) carry their state in the links of the sequences they return; decode sees the
        last round only. The engine interleaves the rounds of all queries of a unit. Pure: another
        thread may be in :meth:`forward` with another unit.
        """
        return None

    @abstractmethod
    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """float32 [N]: one raw score per document from readouts [R, D]; NaN where there is none.

        In a run ``sequences`` have lengths, readouts and links, and no tokens, images or parents
        any more, see :meth:`Sequences.without_tokens`.
        """


class WeightedReranker(Reranker):
    """A model family that reads a checkpoint: ``model.weights`` is required.

    Attributes:
        checkpoint: its files; the constructor reads small ones, :meth:`load_network` the weights.
    """

    @property
    def readout_width(self) -> int:
        """Numbers of a readout (D); more than a few where readouts are vectors."""
        return 1

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
