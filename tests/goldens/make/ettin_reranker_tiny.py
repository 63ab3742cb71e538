"""ettin-reranker-tiny: a seeded ModernBERT with the modules of the Ettin rerankers behind it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.sentence_transformer import modules
from transformers import ModernBertModel

from tests.goldens.make.cross_encoder_parts import body_config, with_tokenizer, write


def main() -> None:
    """Transformer, Pooling (cls), Dense without bias and GELU, LayerNorm, Dense."""
    torch.manual_seed(17)
    config = body_config(
        "modernbert",
        initializer_range=0.25,
        local_attention=16,
        max_position_embeddings=1024,
        bos_token_id=2,
        eos_token_id=3,
    )
    with tempfile.TemporaryDirectory() as folder:
        body = modules.Transformer(str(with_tokenizer(ModernBertModel(config), Path(folder))))
    norm = modules.LayerNorm(32)
    torch.nn.init.normal_(norm.norm.weight, mean=1.0, std=0.5)
    torch.nn.init.normal_(norm.norm.bias)
    dense = modules.Dense(32, 32, bias=False, activation_function=torch.nn.GELU())
    scores = modules.Dense(32, 1, activation_function=None, module_output_name="scores")
    torch.nn.init.normal_(scores.linear.weight, std=0.3)
    model = CrossEncoder(
        modules=[body, modules.Pooling(32, "cls"), dense, norm, scores],
        device="cpu",
        activation_fn=torch.nn.Identity(),
    )
    write("ettin-reranker-tiny", model)


if __name__ == "__main__":
    main()
