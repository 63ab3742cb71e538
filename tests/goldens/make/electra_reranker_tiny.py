"""electra-reranker-tiny: a seeded ELECTRA with one label, whose embeddings are narrow."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder
from transformers import ElectraForSequenceClassification

from tests.goldens.make.cross_encoder_parts import body_config, with_tokenizer, write


def main() -> None:
    """The layout of cross-encoder/ms-marco-electra-base, saved by the current library."""
    torch.manual_seed(18)
    config = body_config(
        "electra",
        initializer_range=0.4,
        embedding_size=16,
        max_position_embeddings=512,
        num_labels=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        network = ElectraForSequenceClassification(config)
        saved = str(with_tokenizer(network, Path(folder)))
        model = CrossEncoder(saved, device="cpu", activation_fn=torch.nn.Identity())
    write("electra-reranker-tiny", model)


if __name__ == "__main__":
    main()
