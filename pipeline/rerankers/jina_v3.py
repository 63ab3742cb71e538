"""jina-reranker-v3 and 3.5: listwise, "last but not late". Qwen3 reads documents, then the query.

One sequence per window. The hidden state at the end of each document and at the end of the query,
projected to 512 numbers, are compared by cosine. A document is read after those before it in its
window, so scores depend on the order of the list and on the other candidates: that is the model,
not noise. Lists of more than a window are merged by weighted query vectors.

Where sources differ, the code published with the weights is followed: its prompt (passages from 0,
the long system text), 512 dimensions, windows of 125 documents and a token budget. The paper's 256
dimensions and 64 documents, and one prompt per pair or without windows, are other people's.
An empty list has no scores, and nested readout tokens are removed; upstream fails on both.

Version 3.5 (arXiv:2607.18152) differs by its weights, by layers that see the last 1,024 tokens
only, and by upstream's limits. It is known by those layers (``layer_types`` of config.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field

from pipeline import schema
from pipeline.errors import ModelError
from pipeline.networks.decoders.loading import can_share, load_decoder, read_decoder
from pipeline.prompts.listwise_prompt import ListwisePrompt, cut_texts
from pipeline.prompts.listwise_windows import (
    MOST_DOCUMENTS,
    Windows,
    merged_cosines,
    plan_windows,
)
from pipeline.prompts.pairs import spent
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.sequences.shared_prefixes import common_beginning, share_beginnings
from pipeline.tokenization.plain_texts import SpecialTokenSettings
from pipeline.tokenization.tokenizer_rules import stated_limit
from pipeline.tokenization.tokens import TextTokenizer, distinct

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint

#: The embedding table under a second name, in files that were saved again.
_IGNORED: Final = ("lm_head.weight",)

_PROJECTED: Final = 512

#: max_doc_length and max_query_length of upstream's ``rerank``: where every layer sees everything
#: (version 3), and where some slide (3.5).
_LIMITS: Final = {False: (2048, 512), True: (8192, 1024)}


class JinaV3Settings(SpecialTokenSettings):
    """Settings of the jina_v3 family."""

    max_doc_length: int | None = Field(
        None,
        ge=1,
        description="Tokens of a document; the rest is cut. Default: 2048, and 8192 for version "
        "3.5, which is known by its sliding layers.",
    )
    max_query_length: int | None = Field(
        None,
        ge=1,
        description="Tokens of a query; the rest is cut. Default: 512, and 1024 for version 3.5.",
    )
    max_length: int | None = Field(
        None,
        ge=1,
        description="Tokens of a window's documents and, twice, its query, not counting the "
        "prompt's own; default: the tokenizer's limit. Less makes windows smaller, which takes "
        "less memory and changes scores.",
    )
    instruction: str | None = Field(
        None, description="What to follow when ranking, for all queries; upstream passes none."
    )


class JinaV3(WeightedReranker):
    """Qwen3 with a projector, as jinaai/jina-reranker-v3 and jinaai/jina-reranker-v3.5.

    Attributes:
        max_doc_length: tokens of a document, as set or as upstream has them for the version.
        max_query_length: tokens of a query, likewise.
        max_length: tokens of a window, as set or by the tokenizer's configuration.
    """

    Settings = JinaV3Settings
    pointwise = False
    score_scale = "cosine"
    can_pack = True

    def __init__(self, *, checkpoint: Checkpoint, settings: JinaV3Settings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = _supported(checkpoint)
        # A beginning that windows share is seen whole, which sliding layers do not.
        self.shares_prefixes = can_share(self.config)
        document, query = _LIMITS[_slides(self.config)]
        self.max_doc_length = settings.max_doc_length or document
        self.max_query_length = settings.max_query_length or query
        self.max_length = settings.max_length or _tokenizer_limit(checkpoint)
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.prompt = ListwisePrompt(
            self.tokenizer, most=MOST_DOCUMENTS, instruction=settings.instruction
        )
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Qwen3's body in ``dtype``, and the projector in float32.

        The projector's sizes are not in config.json; they are those of its tensors.
        """
        from torch import nn

        def projector(width: int) -> nn.Module:
            middle, projected = _projector_sizes(self.checkpoint, width)
            return nn.Sequential(
                nn.Linear(width, middle, bias=False),
                nn.ReLU(),
                nn.Linear(middle, projected, bias=False),
            )

        self.network = load_decoder(
            self.checkpoint,
            kind="qwen3",
            heads={"projector": projector},
            ignore=_IGNORED,
            packed=self.packed,
            device=device,
            dtype=dtype,
        )

    def encode(self, lists: CandidateLists) -> Sequences:
        """One sequence per window, read out at each of its documents and then at its query.

        All windows share the beginning of the prompt, up to where their words part.
        A document's ``n_tokens`` are those of its text after the cut, by which windows are planned.
        """
        queries, query_text = distinct(lists.queries.column(schema.QUERY))
        texts, text_of_document = distinct(lists.documents.column(schema.TEXT))
        asked = cut_texts(self.tokenizer, queries, self.max_query_length)
        documents = cut_texts(self.tokenizer, texts, self.max_doc_length)
        lengths = documents.lengths[text_of_document]
        windows = plan_windows(
            lengths,
            lists.offsets,
            room=self.max_length - 2 * asked.lengths[query_text],
            longest=self.max_doc_length,
        )
        ids, offsets, positions = self.prompt.assemble(
            windows,
            queries=asked,
            query_of_window=query_text[windows.query],
            documents=documents,
            text_of_document=text_of_document,
        )
        sequences = Sequences(
            token_ids=ids,
            offsets=offsets,
            readout_positions=positions,
            readout_offsets=windows.offsets + np.arange(len(windows.offsets)),
            links={
                "window_offsets": windows.offsets,
                "window_query": windows.query,
                **spent(lengths, documents.truncated[text_of_document]),
            },
        )
        alike = np.full(len(sequences), common_beginning(sequences))
        return share_beginnings(sequences, np.zeros(len(sequences), dtype=np.int64), alike)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [r, 512]: the projected hidden state at each readout."""
        hidden = read_decoder(self.network["model"], batch, packed=self.packed)
        vectors: torch.Tensor = self.network["projector"](hidden)
        return vectors

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """Cosine with the query, merged over the windows of each list."""
        links = sequences.links
        return merged_cosines(readouts, Windows(links["window_offsets"], links["window_query"]))


def _supported(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    where = checkpoint.folder / "config.json"
    if config.get("model_type") != "qwen3":
        raise ModelError(
            f"{where}: model_type '{config.get('model_type')}'; the jina_v3 family runs qwen3. See "
            "`rerank models` for the family of your checkpoint"
        )
    if config.get("use_sliding_window") and not config.get("layer_types"):
        raise ModelError(
            f"{where}: use_sliding_window without layer_types, which says for jina-reranker-v3.5 "
            "which layers slide; use the published file"
        )
    return config


def _slides(config: Mapping[str, Any]) -> bool:
    return "sliding_attention" in (config.get("layer_types") or ())


def _tokenizer_limit(checkpoint: Checkpoint) -> int:
    """Tokens that the tokenizer's configuration allows, which is what upstream goes by."""
    return stated_limit(checkpoint) or int(
        checkpoint.config.get("max_position_embeddings", 131_072)
    )


def _projector_sizes(checkpoint: Checkpoint, hidden: int) -> tuple[int, int]:
    """Rows of the projector's two matrices; the usual ones where the file lacks them."""
    sizes = {"projector.0.weight": hidden // 2, "projector.2.weight": _PROJECTED}
    for name, shape in checkpoint.shapes().items():
        if name in sizes and len(shape) == 2:
            sizes[name] = shape[0]
    return sizes["projector.0.weight"], sizes["projector.2.weight"]
