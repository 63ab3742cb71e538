"""Bi-encoders in the sentence-transformers layout: every distinct text is encoded once.

Pooling, normalisation, similarity and prompts are what the checkpoint's files say, as the library
reads them: the score is the cosine, unless ``similarity_fn_name`` is ``dot`` and nothing
normalises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field

from pipeline import schema
from pipeline.checkpoints.embedding import embedding, prompts
from pipeline.checkpoints.sentence_transformers_files import max_seq_length
from pipeline.errors import ModelError
from pipeline.prompts.pairs import spent
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.plain_texts import SpecialTokenSettings
from pipeline.tokenization.tokenizer_rules import tokenizer_limit
from pipeline.tokenization.tokens import TextTokenizer, distinct, resolve_max_length

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint

_RESERVED_POSITIONS: Final = {"roberta": 2, "xlm-roberta": 2}
_IGNORED: Final = ("embeddings.position_ids", "pooler.*")

#: Encoders that run without padding; others are padded.
_PACKABLE: Final = frozenset({"bert", "roberta", "xlm-roberta", "modernbert"})
_ROWS: Final = 65_536


class BiEncoderSettings(SpecialTokenSettings):
    """Settings of the bi_encoder family."""

    max_length: int | None = Field(
        None, ge=4, description="Tokens per text; default: sentence_bert_config.json, else limits."
    )
    query_prefix: str | None = Field(
        None,
        description="Put before every query; default: the checkpoint's prompt named query, if any.",
    )
    document_prefix: str | None = Field(
        None,
        description="Put before every document; default: the checkpoint's prompt named document, "
        "if any.",
    )


class BiEncoder(WeightedReranker):
    """Mean or CLS pooling over a transformers encoder."""

    Settings = BiEncoderSettings
    pointwise = True
    score_scale = "cosine"

    def __init__(self, *, checkpoint: Checkpoint, settings: BiEncoderSettings) -> None:
        query, document = prompts(
            checkpoint, query=settings.query_prefix, document=settings.document_prefix
        )
        # What is resolved is what a run's identity holds.
        settings = settings.model_copy(update={"query_prefix": query, "document_prefix": document})
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = checkpoint.config
        if "auto_map" in self.config:
            raise ModelError(
                f"{checkpoint.folder}/config.json: this checkpoint brings code of its own, which "
                "is never run; the bi_encoder family takes networks that transformers knows"
            )
        made = embedding(checkpoint)
        self.pooling, self.normalize = made.pooling, made.normalize
        if not made.include_prompt and (query or document):
            raise ModelError(
                f"{checkpoint.folder}: Pooling leaves prompts out (include_prompt: false), which "
                "the bi_encoder family does not; it can be run without query_prefix and "
                "document_prefix only, both set to an empty text"
            )
        self.can_pack = self.config.get("model_type") in _PACKABLE
        self.score_scale = "cosine" if self.normalize else "dot"
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.single = self.tokenizer.template(pair=False)
        stated = max_seq_length(
            checkpoint, task="feature-extraction", lowercases=self.tokenizer.lowercases
        )
        self.max_length = resolve_max_length(
            settings.max_length or stated,
            tokenizer=tokenizer_limit(checkpoint),
            positions=self.config.get("max_position_embeddings"),
            reserved=_RESERVED_POSITIONS.get(str(self.config.get("model_type")), 0),
        )
        self.network: Any = None

    @property
    def readout_width(self) -> int:
        """The vector of a text."""
        return int(self.config.get("hidden_size", 1))

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Build transformers' own encoder for the checkpoint's ``model_type``."""
        from transformers import AutoModel

        from pipeline.networks.loading import build, load_weights
        from pipeline.networks.network_config import network_config

        kind = str(self.config.get("model_type"))
        where = self.checkpoint.folder / "config.json"
        config = network_config(self.config, kind=kind, where=where)
        # The pooler of BERT's sentence-pair task is not part of any sentence-transformers pooling.
        extra = {"add_pooling_layer": False} if kind in _POOLED else {}
        self.network = build(
            lambda: AutoModel.from_config(config, dtype=dtype, **extra),
            dtype=dtype,
            checkpoint=self.checkpoint,
        )
        load_weights(self.network, self.checkpoint, ignore=_IGNORED, device=device)
        if self.packed:
            from pipeline.networks.packed_encoder import PackedEncoder

            self.network = PackedEncoder(
                self.network,
                kind,
                reads="readouts" if self.pooling == "cls" else "all",
            )

    def encode(self, lists: CandidateLists) -> Sequences:
        """One sequence per distinct text; ``query`` [Q] and ``document`` [N] link to them.

        A document's ``n_tokens`` are those of its text, however many lists share it.
        """
        queries, query_text = distinct(lists.queries.column(schema.QUERY))
        documents, document_text = distinct(lists.documents.column(schema.TEXT))
        prefixed = [self.settings.query_prefix + text for text in queries]
        prefixed += [self.settings.document_prefix + text for text in documents]
        places: dict[str, int] = {}
        place = np.array(
            [places.setdefault(text, len(places)) for text in prefixed], dtype=np.int64
        )
        arena = self.tokenizer.encode(list(places))
        kept = np.minimum(arena.lengths, self.max_length - self.single.specials)
        ids, offsets, types = self.single.assemble([(arena, np.arange(len(places)), kept)])
        segments = types if self.config.get("type_vocab_size", 0) > 1 else None
        document = place[len(queries) + document_text]
        links = {
            "query": place[query_text],
            "document": document,
            **spent(np.diff(offsets)[document], (kept < arena.lengths)[document]),
        }
        return Sequences.one_readout_each(ids, offsets, segment_ids=segments, links=links)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, hidden]: the pooled, possibly normalised vector of each text."""
        import torch

        vectors = self._packed(batch) if self.packed else self._padded(batch)
        return torch.nn.functional.normalize(vectors, dim=-1) if self.normalize else vectors

    def _packed(self, batch: Batch) -> torch.Tensor:
        from pipeline.networks.packed import mean

        states: torch.Tensor = self.network(batch)
        return states.float() if self.pooling == "cls" else mean(states, batch.lengths)

    def _padded(self, batch: Batch) -> torch.Tensor:
        from pipeline.networks.padding import pad

        padded = pad(batch, int(self.config.get("pad_token_id") or 0))
        inputs = {"input_ids": padded.input_ids, "attention_mask": padded.attention_mask}
        if padded.segment_ids is not None:
            inputs["token_type_ids"] = padded.segment_ids
        hidden: torch.Tensor = self.network(**inputs).last_hidden_state.float()
        if self.pooling == "cls":
            return hidden[:, 0]
        mask = padded.attention_mask.unsqueeze(-1).float()
        return (hidden * mask).sum(1) / mask.sum(1)

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """Dot product of each document's vector with its query's."""
        query = sequences.links["query"][lists.query_of_document]
        document = sequences.links["document"]
        scores = np.empty(len(document), dtype=np.float32)
        for start in range(0, len(document), _ROWS):
            part = slice(start, start + _ROWS)
            scores[part] = np.einsum("nd,nd->n", readouts[query[part]], readouts[document[part]])
        return scores


_POOLED: Final = frozenset({"bert", "roberta", "xlm-roberta"})
