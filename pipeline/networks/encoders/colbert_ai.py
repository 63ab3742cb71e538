"""Networks of colbert-ai's two layouts: BERT, and XLM-R with rotary positions (jina-colbert-v2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeline.checkpoints.values import number
from pipeline.errors import ModelError
from pipeline.networks.encoders import flash_xlm_roberta
from pipeline.networks.network_config import FLASH_XLM_ROBERTA

if TYPE_CHECKING:
    import torch

    from pipeline.checkpoints.checkpoint import Checkpoint

Layout = Literal["rotary", "bert"]

#: transformers' names of the parts that the rotary layout calls otherwise, for its padded network.
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


def colbert_ai_layout(checkpoint: Checkpoint) -> Layout:
    """Which of the two it is.

    Raises:
        ModelError: neither.
    """
    config = checkpoint.config
    if config.get("position_embedding_type") == "rotary":
        absent = [key for key in FLASH_XLM_ROBERTA if key not in config]
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
        f"position_embedding_type {config.get('position_embedding_type')!r}; of colbert-ai's "
        "layout the late_interaction family runs bert, and XLM-R with rotary positions "
        "(jina-colbert-v2)"
    )


def load_colbert_ai(
    checkpoint: Checkpoint,
    layout: Layout,
    *,
    width: int,
    packed: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    """The encoder under ``body``, and the projection in float32 under ``linear``.

    Args:
        checkpoint: its files.
        layout: see :func:`colbert_ai_layout`.
        width: numbers of a token's vector.
        packed: whether batches come without padding.
        device: target.
        dtype: of the encoder.

    Raises:
        ModelError: a tensor is missing, unexpected or of the wrong shape.
    """
    import torch

    from pipeline.networks.encoders.bodies import build_body
    from pipeline.networks.loading import build, load_weights
    from pipeline.networks.network_config import network_config

    where = checkpoint.folder / "config.json"
    if layout == "rotary":
        kind = "jina_embeddings_v3"
        # The class's own default is 20,000, that of jina-embeddings-v3.
        base = number(checkpoint.config, "rotary_emb_base", where=where, default=10_000.0)
        rope = {"rope_type": "default", "rope_theta": base}
        config = network_config(
            checkpoint.config, kind=kind, where=where, known=FLASH_XLM_ROBERTA, rope_parameters=rope
        )
    else:
        kind = "bert"
        config = network_config(checkpoint.config, kind=kind, where=where)
    if packed:
        body = build_body(checkpoint, config, kind=kind, dtype=dtype)
        names = _rename_packed if layout == "rotary" else _rename_bert
    else:
        from transformers import AutoModel

        names = _rename_rotary if layout == "rotary" else _rename_bert
        body = build(
            lambda: AutoModel.from_config(config, dtype=dtype, add_pooling_layer=False),
            dtype=dtype,
            checkpoint=checkpoint,
        )
    linear = torch.nn.Linear(config.hidden_size, width, bias=False)
    network = torch.nn.ModuleDict({"body": body, "linear": linear})
    load_weights(
        network,
        checkpoint,
        rename=names,
        ignore=_IGNORED,
        heads=("linear",),
        device=device,
    )
    if packed:
        from pipeline.networks.encoders.packed_encoder import PackedEncoder

        network["body"] = PackedEncoder(network["body"], kind, reads="all")
    return network


def _rename_bert(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    yield ("body." + name.removeprefix("bert.") if name.startswith("bert.") else name), tensor


def _rename_packed(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    for renamed, part in flash_xlm_roberta.rename(name, tensor):
        yield renamed.replace("roberta.", "body.", 1), part


def _rename_rotary(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    for theirs, ours in _RENAMED:
        name = name.replace(theirs, ours)
    if ".mixer.Wqkv." not in name:
        yield name, tensor
        return
    for part, rows in zip("qkv", tensor.chunk(3, dim=0), strict=True):
        yield name.replace(".mixer.Wqkv.", f".self_attn.{part}_proj."), rows
