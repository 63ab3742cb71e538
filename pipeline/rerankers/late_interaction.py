"""Late interaction: every token a vector, and a document as good as its best token per query token.

Three layouts, told apart by their files:

* colbert-ai's, described by ``artifact.metadata``: plain ColBERT (BERT), and jina-colbert-v2 (XLM-R
  with rotary positions and fused weights). Tokens, the query's padding with mask tokens, the skip
  list and MaxSim follow colbert-ai, in float32 (on a GPU it rounds document vectors to float16);
* PyLate's and sentence-transformers' ``MultiVectorEncoder``, described by ``modules.json``: any
  encoder that transformers has, Dense layers behind it.

A unit's token vectors are in memory at once: 5,000 documents of 300 tokens and 128 dimensions are
0.8 GB, so long documents want smaller ``units.documents``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from pipeline.checkpoints.sentence_transformers.files import max_seq_length, transformer_file
from pipeline.checkpoints.sentence_transformers.multi_vector import (
    TRANSFORMER_KEYS,
    MultiVector,
    multi_vector,
    multi_vector_layout,
)
from pipeline.checkpoints.values import whole_number
from pipeline.errors import ConfigurationError, ModelError
from pipeline.networks.encoders.bodies import reserved_positions
from pipeline.networks.encoders.colbert_ai import colbert_ai_layout
from pipeline.networks.encoders.kinds import packs
from pipeline.networks.maxsim import max_similarity
from pipeline.prompts.colbert import Metadata, colbert_ai_tokenizer, multi_vector_tokenizer
from pipeline.prompts.token_vectors import Lengths
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.plain_texts import SpecialTokenSettings
from pipeline.tokenization.tokenizer_rules import tokenizer_limit
from pipeline.tokenization.tokens import TextTokenizer, resolve_max_length

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint


class LateInteractionSettings(SpecialTokenSettings):
    """Settings of the late_interaction family."""

    query_max_length: int | None = Field(
        None, ge=4, description="Tokens per query, filled up to it; default: the checkpoint's."
    )
    document_max_length: int | None = Field(
        None, ge=4, description="Tokens per document; default: the checkpoint's."
    )


class LateInteraction(WeightedReranker):
    """ColBERT checkpoints of colbert-ai, PyLate and sentence-transformers."""

    Settings = LateInteractionSettings
    pointwise = True
    score_scale = "maxsim"
    can_pack = True

    def __init__(self, *, checkpoint: Checkpoint, settings: LateInteractionSettings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = checkpoint.config
        #: None for colbert-ai's layouts.
        self.described: MultiVector | None = None
        self.normalize = True
        if multi_vector_layout(checkpoint) is None:
            self._of_colbert_ai()
        else:
            self._of_modules()
        self.network: Any = None

    def _of_colbert_ai(self) -> None:
        self.layout = colbert_ai_layout(self.checkpoint)
        metadata = Metadata.read(self.checkpoint)
        self.width = metadata.dim
        texts = TextTokenizer(self.checkpoint, special_tokens=self.settings.special_tokens)
        self.tokenizer = colbert_ai_tokenizer(self.checkpoint, texts, metadata)
        query = self._length("query", metadata.query_length)
        document = self._length("document", metadata.document_length)
        self.lengths = Lengths(query=query, filled=query, document=document)

    def _of_modules(self) -> None:
        checkpoint = self.checkpoint
        if "auto_map" in self.config:
            raise ModelError(
                f"{checkpoint.folder}/config.json: this checkpoint brings code of its own, which "
                "is never run; the late_interaction family takes networks that transformers knows"
            )
        self.described = made = multi_vector(checkpoint)
        self.normalize, self.score_scale = made.normalize, made.similarity
        where = checkpoint.folder / "config.json"
        size = whole_number(self.config, "hidden_size", where=where, default=1)
        self.width = made.layers[-1].outputs if made.layers else size
        texts = TextTokenizer(
            checkpoint,
            special_tokens=self.settings.special_tokens,
            lowercase=bool(transformer_file(checkpoint)[0].get("do_lower_case")),
        )
        self.tokenizer = multi_vector_tokenizer(checkpoint, texts, made)
        stated = max_seq_length(
            checkpoint,
            task="feature-extraction",
            lowercases=texts.lowercases,
            read=TRANSFORMER_KEYS,
        )
        whole = resolve_max_length(
            None,
            tokenizer=tokenizer_limit(checkpoint, texts.truncation) if stated is None else stated,
            positions=self.config.get("max_position_embeddings"),
            reserved=reserved_positions(self.config),
        )
        filled = made.expansion.length if made.expansion else 0
        limit = filled if made.expansion and made.expansion.cuts else made.query.length or whole
        query = self._length("query", limit)
        if made.expansion:
            filled = query if made.expansion.cuts else min(filled, query)
        document = self._length("document", made.document.length or whole)
        self.lengths = Lengths(query=query, filled=filled, document=document)
        self.can_pack = packs(self.config) and self._packs_fillings()

    def _packs_fillings(self) -> bool:
        """Whether packed attention can leave out what fills a query, where nobody attends to it.

        DeBERTa's has no way to. A windowed layer's can where its window holds the whole query: its
        keys are numbered without those that are left out.
        """
        expansion = self.described and self.described.expansion
        kind = self.config.get("model_type")
        if not expansion or expansion.attended or kind not in ("deberta-v2", "modernbert"):
            return True
        where = self.checkpoint.folder / "config.json"
        sight = whole_number(self.config, "local_attention", where=where, default=128) // 2
        return kind == "modernbert" and self.lengths.filled <= sight + 1

    def _length(self, side: str, published: int) -> int:
        """Tokens of a query or document: as asked, else as published."""
        where = self.checkpoint.folder / "config.json"
        positions = whole_number(self.config, "max_position_embeddings", where=where, default=512)
        positions -= reserved_positions(self.config)
        length = int(getattr(self.settings, f"{side}_max_length") or published)
        if length > positions:
            raise ConfigurationError(
                f"model.settings.{side}_max_length: {length} is more than the model's {positions} "
                "positions"
            )
        return length

    @property
    def readout_width(self) -> int:
        """The vector of a token."""
        return self.width

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """transformers' own encoder under ``body``, what follows it in float32 under ``linear``."""
        if self.described is None:
            from pipeline.networks.encoders.colbert_ai import load_colbert_ai

            self.network = load_colbert_ai(
                self.checkpoint,
                self.layout,
                width=self.width,
                packed=self.packed,
                device=device,
                dtype=dtype,
            )
            return
        from torch import nn

        from pipeline.networks.encoders.bodies import load_body
        from pipeline.networks.module_chain import load_chain

        body = load_body(
            self.checkpoint, packed=self.packed, reads="all", device=device, dtype=dtype
        )
        chain = load_chain(self.checkpoint, self.described.layers, device=device)
        self.network = nn.ModuleDict({"body": body, "linear": chain})

    def encode(self, lists: CandidateLists) -> Sequences:
        """One sequence per distinct query and per distinct document, a readout per scored token."""
        return self.tokenizer.encode(lists, self.lengths)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [r, width]: a vector for each readout."""
        import torch

        from pipeline.networks.encoders.bodies import read_all

        states = read_all(
            self.network["body"],
            batch,
            packed=self.packed,
            pad_id=int(self.config.get("pad_token_id") or 0),
            attended=batch.sequences.links["attended"][batch.chosen],
        )
        vectors = self.network["linear"](states[batch.tensors.readout_rows]).float()
        return torch.nn.functional.normalize(vectors, dim=-1) if self.normalize else vectors

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """MaxSim: the sum, or mean, over the query's vectors of the best product with a document's.

        Products of vectors of unit length are cosines.
        """
        offsets, queries = sequences.readout_offsets, sequences.links["query"]
        scores = max_similarity(
            readouts,
            offsets,
            queries=queries,
            documents=sequences.links["document"],
            lists=lists.offsets,
        )
        if self.score_scale != "meanmaxsim":
            return scores
        counts = (offsets[queries + 1] - offsets[queries])[lists.query_of_document]
        means: Floats = np.divide(scores, np.maximum(counts, 1), dtype=np.float32)
        return means
