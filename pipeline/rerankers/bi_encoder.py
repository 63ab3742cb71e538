"""Bi-encoders in the sentence-transformers layout: every distinct text is encoded once.

Pooling, the modules after it, similarity and prompts are what the checkpoint's files say, as the
library reads them (sentence-transformers 2 to 6.2): a score is what ``similarity`` gives for
``encode_query`` and ``encode_document``, distances negated.

Encoders are read at all tokens or at one; decoders that are pooled by their last token (the layout
of Qwen3-Embedding) run as the packed decoders of other families do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field

from pipeline import schema
from pipeline.checkpoints.sentence_transformers.embedding import Normalize, Similarity, embedding
from pipeline.checkpoints.sentence_transformers.files import max_seq_length, transformer_file
from pipeline.checkpoints.sentence_transformers.prompts import prompts
from pipeline.errors import ModelError
from pipeline.networks.decoders import loading as decoders
from pipeline.networks.encoders.bodies import reserved_positions
from pipeline.networks.encoders.kinds import packs
from pipeline.prompts.pairs import never_empty, spent
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

#: Pairs of vectors that are compared at once.
_ROWS: Final = 65_536

#: Link [S] to the leading tokens of each sequence that pooling leaves out.
_PROMPT: Final = "prompt"

#: Link [S]: 1 where the tokenizer makes no token of a text, 0 elsewhere.
_NOTHING: Final = "nothing"


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
    """One vector a text, of an encoder's or a decoder's token states."""

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
        self.embedding = embedding(checkpoint)
        self.score_scale = self.embedding.score_scale
        modes, whole = self.embedding.pooling, self.embedding.include_prompt
        #: Whether the one token that is read is all that pooling needs.
        self.reads_one = modes == ("cls",) or (modes == ("lasttoken",) and whole)
        self.decodes = _is_decoder(self.config) and modes == ("lasttoken",) and whole
        self.can_pack = decoders.can_pack(self.config) if self.decodes else packs(self.config)
        self.tokenizer = TextTokenizer(
            checkpoint,
            special_tokens=settings.special_tokens,
            lowercase=bool(transformer_file(checkpoint)[0].get("do_lower_case")),
        )
        self.single = self.tokenizer.template(pair=False)
        stated = max_seq_length(
            checkpoint, task="feature-extraction", lowercases=self.tokenizer.lowercases
        )
        of_tokenizer = tokenizer_limit(checkpoint, self.tokenizer.truncation)
        self.max_length = resolve_max_length(
            settings.max_length,
            tokenizer=of_tokenizer if stated is None else stated,
            positions=self.config.get("max_position_embeddings"),
            reserved=reserved_positions(self.config),
        )
        self.network: Any = None
        self.layers: Any = None

    @property
    def readout_width(self) -> int:
        """The vector of a text."""
        return self.embedding.width

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """The network in ``dtype``; the modules after pooling in float32."""
        from pipeline.networks.module_chain import load_chain

        if self.decodes:
            self.network = decoders.load_decoder(
                self.checkpoint,
                kind=str(self.config["model_type"]),
                heads={},
                rename=_as_body,
                ignore=("lm_head.*",),
                packed=self.packed,
                device=device,
                dtype=dtype,
            )
        else:
            from pipeline.networks.encoders.bodies import load_body

            self.network = load_body(
                self.checkpoint,
                packed=self.packed,
                reads="readouts" if self.reads_one else "all",
                device=device,
                dtype=dtype,
            )
        steps = self.embedding.steps
        layers = [step for step in steps if not isinstance(step, Normalize)]
        self.layers = load_chain(self.checkpoint, layers, device=device)

    def encode(self, lists: CandidateLists) -> Sequences:
        """One sequence per distinct text; ``query`` [Q] and ``document`` [N] link to them.

        A document's ``n_tokens`` are those of its text, however many lists share it.
        """
        queries, query_text = distinct(lists.queries.column(schema.QUERY))
        documents, document_text = distinct(lists.documents.column(schema.TEXT))
        asked, told = self.settings.query_prefix, self.settings.document_prefix
        skips = self._left_out(asked), self._left_out(told)
        prefixed = [(asked + text, skips[0]) for text in queries]
        prefixed += [(told + text, skips[1]) for text in documents]
        places: dict[tuple[str, int], int] = {}
        place = np.array([places.setdefault(key, len(places)) for key in prefixed], dtype=np.int64)
        arena = self.tokenizer.encode([text for text, _ in places])
        kept = np.minimum(arena.lengths, self.max_length - self.single.specials)
        ids, offsets, types = self.single.assemble([(arena, np.arange(len(places)), kept)])
        tokens = np.diff(offsets)
        ids, offsets, nothing = never_empty(ids, offsets)
        lengths = np.diff(offsets)
        typed = self.config.get("type_vocab_size", 0) > 1 and not nothing.any()
        left_out = np.array([skipped for _, skipped in places], dtype=np.int64)
        document = place[len(queries) + document_text]
        links = {
            "query": place[query_text],
            "document": document,
            _PROMPT: left_out,
            _NOTHING: nothing.astype(np.int64),
            **spent(tokens[document], (kept < arena.lengths)[document]),
        }
        last = self.embedding.pooling == ("lasttoken",)
        read = lengths - 1 if last else np.where(left_out < lengths, left_out, 0)
        return Sequences.one_readout_each(
            ids,
            offsets,
            segment_ids=types if typed else None,
            positions=read.astype(np.int32),
            links=links,
        )

    def _left_out(self, prompt: str) -> int:
        """Leading tokens that pooling does not look at: those of the prompt, as it stands alone.

        As the library counts (base/modules/transformer.py, ``_get_prompt_length``): special tokens
        before it belong to it, one after it does not. A tokenizer may join the prompt's end to the
        text's beginning, and one token of the text is then left out as well.
        """
        if not prompt or self.embedding.include_prompt:
            return 0
        before, after = self.single.pieces
        room = self.max_length - self.single.specials
        own = self.tokenizer.encode([prompt]).token_ids[:room]
        ids = np.concatenate([before, own, after])
        special = {
            number
            for number, token in self.tokenizer.library.get_added_tokens_decoder().items()
            if token.special
        }
        return len(ids) - (int(ids[-1]) in special)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, width]: the vector of each text, as it is compared."""
        import torch

        from pipeline.networks.attention.plan import to_device

        steps, similarity = self.embedding.steps, self.embedding.similarity
        vectors = self._pooled(batch).float()
        nothing = np.flatnonzero(batch.sequences.links[_NOTHING][batch.chosen])
        if len(nothing):  # as the library pools a text without tokens
            vectors[to_device(nothing, vectors.device)] = 0
        layers = iter(self.layers)
        for step in steps:
            unit = isinstance(step, Normalize)
            vectors = (
                torch.nn.functional.normalize(vectors, dim=-1) if unit else next(layers)(vectors)
            )
        vectors = vectors[:, : self.embedding.width]
        return torch.nn.functional.normalize(vectors, dim=-1) if similarity == "cosine" else vectors

    def _pooled(self, batch: Batch) -> torch.Tensor:
        if self.decodes:
            return decoders.read_decoder(self.network["model"], batch, packed=self.packed)
        if self.reads_one and self.packed:
            states: torch.Tensor = self.network(batch)
            return states
        from pipeline.networks.encoders.bodies import read_all
        from pipeline.networks.pooling import pool

        pad_id = int(self.config.get("pad_token_id") or 0)
        states = read_all(self.network, batch, packed=self.packed, pad_id=pad_id)
        if self.reads_one:
            return states[batch.tensors.readout_rows]
        return pool(
            states,
            batch.lengths,
            modes=self.embedding.pooling,
            left_out=batch.sequences.links[_PROMPT][batch.chosen],
        )

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The similarity of each document's vector to its query's."""
        query = sequences.links["query"][lists.query_of_document]
        document = sequences.links["document"]
        compare = _COMPARE[self.embedding.similarity]
        scores = np.empty(len(document), dtype=np.float32)
        for start in range(0, len(document), _ROWS):
            part = slice(start, start + _ROWS)
            scores[part] = compare(readouts[query[part]], readouts[document[part]])
        return scores


def _dot(first: Floats, second: Floats) -> Floats:
    dots: Floats = np.einsum("nd,nd->n", first, second)
    return dots


def _negative_euclidean(first: Floats, second: Floats) -> Floats:
    distances: Floats = np.linalg.norm(first - second, axis=1)
    return -distances


def _negative_manhattan(first: Floats, second: Floats) -> Floats:
    distances: Floats = np.abs(first - second).sum(axis=1)
    return -distances


#: float32 [n] of two times [n, width]; vectors whose cosine is asked for have unit length.
_COMPARE: Final[dict[Similarity, Callable[[Floats, Floats], Floats]]] = {
    "cosine": _dot,
    "dot": _dot,
    "euclidean": _negative_euclidean,
    "manhattan": _negative_manhattan,
}


def _is_decoder(config: dict[str, Any]) -> bool:
    """Whether it is one of the decoders that run packed; transformers runs those that see all."""
    return config.get("model_type") in decoders.PACKABLE and config.get("is_causal") is not False


def _as_body(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Bodies are stored by themselves, or as the body of a language model."""
    yield name if name.startswith("model.") else f"model.{name}", tensor
