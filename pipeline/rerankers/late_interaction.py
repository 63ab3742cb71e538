"""Late interaction: every token a vector, and a document as good as its best token per query token.

Two layouts that colbert-ai writes, both told apart by ``config.json`` and described by
``artifact.metadata``: jina-colbert-v2 (XLM-R with rotary positions and fused weights) and plain
ColBERT (BERT). The tokens, the query's padding with mask tokens, the skip list and MaxSim follow
colbert-ai, in float32 (on a GPU colbert-ai rounds document vectors to float16).

PyLate differs in its skip list, the id of the punctuation mark itself, and is not followed:
colbert-ai takes the first id of the encoded mark, which with SentencePiece is often a bare "▁".

A unit's token vectors are in memory at once: 5,000 documents of 300 tokens and 128 dimensions are
0.8 GB, so long documents want smaller ``units.documents``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from pipeline.checkpoints.values import number, whole_number
from pipeline.errors import ConfigurationError, ModelError
from pipeline.networks.maxsim import max_similarity
from pipeline.prompts.colbert import ColbertTokenizer, Metadata
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.plain_texts import SpecialTokenSettings

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.arrays import Int64s

#: What the rotary layout's config.json says about the network; the rest is about upstream's code.
_ARCHITECTURE: Final = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)

#: transformers' names of the parts that the rotary layout calls otherwise.
_RENAMED: Final = (
    ("roberta.emb_ln.", "body.embeddings.LayerNorm."),
    ("roberta.encoder.layers.", "body.layers."),
    ("roberta.", "body."),
    (".mixer.out_proj.", ".self_attn.o_proj."),
    (".norm1.", ".post_attention_layernorm."),
    (".norm2.", ".post_mlp_layernorm."),
)

#: The pooler is of no use here, and old buffers carry nothing.
_IGNORED: Final = ("*.pooler.*", "*.embeddings.position_ids")


class LateInteractionSettings(SpecialTokenSettings):
    """Settings of the late_interaction family."""

    query_max_length: int | None = Field(
        None, ge=4, description="Tokens per query, padded to it; default: artifact.metadata."
    )
    document_max_length: int | None = Field(
        None, ge=4, description="Tokens per document; default: artifact.metadata."
    )


class LateInteraction(WeightedReranker):
    """ColBERT checkpoints with a body of BERT or of rotary XLM-R."""

    Settings = LateInteractionSettings
    pointwise = True
    score_scale = "maxsim"
    can_pack = True

    def __init__(self, *, checkpoint: Checkpoint, settings: LateInteractionSettings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = checkpoint.config
        self.layout = _layout(checkpoint)
        self.metadata = Metadata.read(checkpoint)
        self.tokenizer = ColbertTokenizer(
            checkpoint, self.metadata, special_tokens=settings.special_tokens
        )
        where = checkpoint.folder / "config.json"
        positions = whole_number(self.config, "max_position_embeddings", where=where, default=512)
        self.query_length = _length("query", settings, self.metadata.query_length, positions)
        self.document_length = _length(
            "document", settings, self.metadata.document_length, positions
        )
        self.network: Any = None

    @property
    def readout_width(self) -> int:
        """The vector of a token."""
        return self.metadata.dim

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """transformers' own encoder, and the projection in float32."""
        import torch
        from transformers import AutoModel

        from pipeline.networks.loading import build, load_weights
        from pipeline.networks.network_config import network_config

        where = self.checkpoint.folder / "config.json"
        if self.layout == "rotary":
            kind = "jina_embeddings_v3"
            # The class's own default is 20,000, that of jina-embeddings-v3.
            base = number(self.config, "rotary_emb_base", where=where, default=10_000.0)
            rope = {"rope_type": "default", "rope_theta": base}
            config = network_config(
                self.config, kind=kind, where=where, known=_ARCHITECTURE, rope_parameters=rope
            )
        else:
            kind = "bert"
            config = network_config(self.config, kind=kind, where=where)
        self.network = build(
            lambda: torch.nn.ModuleDict(
                {
                    "body": AutoModel.from_config(config, dtype=dtype, add_pooling_layer=False),
                    "linear": torch.nn.Linear(config.hidden_size, self.metadata.dim, bias=False),
                }
            ),
            dtype=dtype,
            checkpoint=self.checkpoint,
        )
        load_weights(
            self.network,
            self.checkpoint,
            rename=_rename_rotary if self.layout == "rotary" else _rename_bert,
            ignore=_IGNORED,
            heads=("linear",),
            device=device,
        )
        if self.packed:
            from pipeline.networks.packed_encoder import PackedEncoder

            self.network["body"] = PackedEncoder(self.network["body"], kind, reads="all")

    def encode(self, lists: CandidateLists) -> Sequences:
        """One sequence per distinct query and per distinct document, a readout per scored token."""
        return self.tokenizer.encode(
            lists, queries=self.query_length, documents=self.document_length
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [r, dim]: a unit vector for each readout."""
        import torch

        attended = batch.sequences.links["attended"][batch.chosen]
        read = self._packed(batch, attended) if self.packed else self._padded(batch, attended)
        return torch.nn.functional.normalize(self.network["linear"](read), dim=-1)

    def _packed(self, batch: Batch, attended: Int64s) -> torch.Tensor:
        packed = self.network["body"].pack(batch, attended)
        states: torch.Tensor = self.network["body"].states(packed)
        return states[packed.reading.rows]

    def _padded(self, batch: Batch, attended: Int64s) -> torch.Tensor:
        import torch

        from pipeline.networks.padding import pad

        padded = pad(batch, self.tokenizer.pad)
        columns = torch.arange(padded.input_ids.shape[1], device=batch.device)
        mask = (columns < torch.from_numpy(attended).to(batch.device)[:, None]).long()
        hidden = self.network["body"](input_ids=padded.input_ids, attention_mask=mask)
        states: torch.Tensor = hidden.last_hidden_state
        return states[padded.readout_rows, padded.readout_columns]

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """MaxSim: the sum over the query's vectors of the best cosine among the document's."""
        return max_similarity(
            readouts,
            sequences.readout_offsets,
            queries=sequences.links["query"],
            documents=sequences.links["document"],
            lists=lists.offsets,
        )


def _layout(checkpoint: Checkpoint) -> Literal["rotary", "bert"]:
    config = checkpoint.config
    if config.get("position_embedding_type") == "rotary":
        absent = [key for key in _ARCHITECTURE if key not in config]
        if absent:
            raise ModelError(
                f"{checkpoint.folder}/config.json: no {', '.join(absent)}; is this a "
                "jina-colbert-v2 checkpoint?"
            )
        return "rotary"
    if config.get("model_type") == "bert" and "auto_map" not in config:
        return "bert"
    raise ModelError(
        f"{checkpoint.folder}/config.json: model_type {config.get('model_type')!r}, "
        f"position_embedding_type {config.get('position_embedding_type')!r}; the late_interaction "
        "family runs bert, and XLM-R with rotary positions (jina-colbert-v2)"
    )


def _length(side: str, settings: LateInteractionSettings, published: int, positions: int) -> int:
    """Tokens of a query or document: as asked, else as published."""
    length = int(getattr(settings, f"{side}_max_length") or published)
    if length > positions:
        raise ConfigurationError(
            f"model.settings.{side}_max_length: {length} is more than the model's {positions} "
            "positions"
        )
    return length


def _rename_bert(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    yield ("body." + name.removeprefix("bert.") if name.startswith("bert.") else name), tensor


def _rename_rotary(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    for theirs, ours in _RENAMED:
        name = name.replace(theirs, ours)
    if ".mixer.Wqkv." not in name:
        yield name, tensor
        return
    for part, rows in zip("qkv", tensor.chunk(3, dim=0), strict=True):
        yield name.replace(".mixer.Wqkv.", f".self_attn.{part}_proj."), rows
