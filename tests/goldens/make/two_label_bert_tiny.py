"""two-label-bert-tiny: a seeded BERT with two labels, of which the second is "relevant"."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder
from transformers import BertForSequenceClassification

from tests.goldens.make.cross_encoder_parts import body_config, with_tokenizer, write


def main() -> None:
    """Logits of a case are log-odds, its probabilities those of class 1 under softmax."""
    torch.manual_seed(19)
    config = body_config("bert", initializer_range=0.4, max_position_embeddings=512, num_labels=2)
    with tempfile.TemporaryDirectory() as folder:
        network = BertForSequenceClassification(config)
        model = CrossEncoder(str(with_tokenizer(network, Path(folder))), device="cpu")
    write("two-label-bert-tiny", model)


if __name__ == "__main__":
    main()
