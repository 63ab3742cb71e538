"""A tiny ModernBERT as sentence-transformers saves a MultiVectorEncoder."""

from __future__ import annotations

import shutil
import string
import tempfile

import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from tokenizers import AddedToken, Tokenizer
from transformers import ModernBertConfig, ModernBertModel

from tests.goldens.make.multi_vector_cases import (
    DOCUMENT_LENGTH,
    GOLDENS,
    QUERY_LENGTH,
    draw,
    write,
)

FOLDER = GOLDENS / "multi-vector-modernbert-tiny"


def main() -> None:
    """Write the folder anew."""
    torch.manual_seed(12)
    shutil.rmtree(FOLDER, ignore_errors=True)
    source = GOLDENS / "jina-reranker-v1-tiny-tiny"
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    markers = [AddedToken(text, normalized=False, special=True) for text in ("[Q] ", "[D] ")]
    tokenizer.add_special_tokens(markers)
    with tempfile.TemporaryDirectory() as body:
        tokenizer.save(f"{body}/tokenizer.json")
        shutil.copy(source / "tokenizer_config.json", body)
        # Half the window is a query's length, and less than a document's.
        config = ModernBertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            local_attention=2 * QUERY_LENGTH,
            global_attn_every_n_layers=3,
            max_position_embeddings=64,
            pad_token_id=1,
            bos_token_id=0,
            cls_token_id=0,
            eos_token_id=2,
            sep_token_id=2,
        )
        network = ModernBertModel(config)
        draw(network)
        network.save_pretrained(body)
        expansion = {"strategy": "fixed", "attend": False, "length": QUERY_LENGTH}
        first = Transformer(body, document_length=DOCUMENT_LENGTH, query_expansion=expansion)
    dense = Dense(
        32,
        16,
        bias=False,
        activation_function=torch.nn.Identity(),
        module_input_name="token_embeddings",
    )
    draw(dense)
    model = MultiVectorEncoder(
        modules=[
            first,
            dense,
            MultiVectorMask(skiplist_words=list(string.punctuation)),
            Normalize(module_input_name="token_embeddings"),
        ],
        device="cpu",
        prompts={"query": "[Q] ", "document": "[D] "},
    )
    model.save_pretrained(str(FOLDER), create_model_card=False)
    write(FOLDER, "multi_vector_modernbert_tiny")


if __name__ == "__main__":
    main()
