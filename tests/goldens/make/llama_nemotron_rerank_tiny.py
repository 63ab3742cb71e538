"""llama-nemotron-rerank-tiny: a seeded Llama without a causal mask, scored by transformers.

The layout is that of nvidia/llama-nemotron-rerank-1b-v2. Its own class is transformers' LlamaModel
that looks both ways, the mean of its last states, a linear layer and a division by ``temperature``.
Those steps are written here, around transformers' network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForSequenceClassification,
    LlamaModel,
    PreTrainedTokenizerFast,
)

from tests.goldens.make.decoder_texts import CASES, Pairs, draw, scored

FOLDER: Final = Path(__file__).parents[1] / "llama-nemotron-rerank-tiny"
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
TEMPERATURE: Final = 2.0
#: Where Llama 3 cuts texts into words.
SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
SIZES: Final[dict[str, Any]] = {
    "vocab_size": 700,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
}
ROPE: Final = {
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 32,
    "rope_type": "llama3",
}


def prompt(query: str, document: str) -> str:
    """As the model card has it, one string."""
    return f"question:{query} \n \n passage:{document}"


def tokenizer() -> Tokenizer:
    """Llama 3's rules with a small vocabulary, which has tokens that span the prompt's seams."""
    made = Tokenizer(models.BPE(ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    texts = [prompt(*pair) for _, pairs, _ in CASES for pair in pairs]
    made.train_from_iterator(
        texts * 3,
        trainers.BpeTrainer(
            vocab_size=SIZES["vocab_size"] - 2,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    made.add_special_tokens([BOS, EOS])
    made.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS}:1 $B:1",
        special_tokens=[(BOS, made.token_to_id(BOS))],
    )
    return made


def write_checkpoint() -> None:
    """Files as the hub has them, but for its Python file."""
    FOLDER.mkdir(exist_ok=True)
    library = tokenizer()
    assert library.get_vocab_size() <= SIZES["vocab_size"]
    library.save(str(FOLDER / "tokenizer.json"), pretty=False)
    about = {
        "bos_token": BOS,
        "eos_token": EOS,
        "model_max_length": 131072,
        "padding_side": "left",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (FOLDER / "tokenizer_config.json").write_text(json.dumps(about, indent=1) + "\n")
    own = "llama_bidirectional_model.LlamaBidirectional"
    config = {
        "architectures": ["LlamaBidirectionalForSequenceClassification"],
        "auto_map": {
            "AutoConfig": f"{own}Config",
            "AutoModelForSequenceClassification": f"{own}ForSequenceClassification",
        },
        "model_type": "llama_bidirec",
        **SIZES,
        "rope_theta": 500000.0,
        "rope_scaling": ROPE,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "pooling": "avg",
        "temperature": TEMPERATURE,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.44.2",
    }
    (FOLDER / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    network = LlamaForSequenceClassification(LlamaConfig(**SIZES, num_labels=1))
    tensors = draw(network.state_dict(), seed=78)
    save_file(tensors, FOLDER / "model.safetensors", metadata={"format": "pt"})


def upstream() -> tuple[LlamaModel, torch.Tensor]:
    """transformers' body that looks both ways, and the head, in float32."""
    from safetensors.torch import load_file

    tensors = {name: t.float() for name, t in load_file(FOLDER / "model.safetensors").items()}
    head = tensors.pop("score.weight")
    rotary = {"rope_theta": 500000.0, "rope_parameters": ROPE | {"rope_theta": 500000.0}}
    body = LlamaModel(LlamaConfig(**SIZES, **rotary, is_causal=False)).eval()
    body.load_state_dict({name.removeprefix("model."): t for name, t in tensors.items()})
    return body, head


def main() -> None:
    """Write the folder anew."""
    write_checkpoint()
    about = PreTrainedTokenizerFast(tokenizer_file=str(FOLDER / "tokenizer.json"))
    about.pad_token = EOS
    body, head = upstream()

    def score(pairs: Pairs, max_length: int) -> tuple[list[float], list[list[int]]]:
        texts, sides = [prompt(*pair) for pair in pairs], []
        cut = {"truncation": True, "max_length": max_length}
        for side in ("left", "right"):
            inputs = about(texts, padding=True, padding_side=side, return_tensors="pt", **cut)
            mask = inputs.attention_mask
            with torch.inference_mode():
                states = body(input_ids=inputs.input_ids, attention_mask=mask).last_hidden_state
                mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
                sides.append((mean @ head.T)[:, 0] / TEMPERATURE)
        torch.testing.assert_close(*sides, atol=1e-5, rtol=0)
        return sides[0].tolist(), [about(text, **cut).input_ids for text in texts]

    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in scored(score))
    (FOLDER / "cases.jsonl").write_text(lines, "utf-8")
    made = {
        "library": "transformers",
        "version": transformers.__version__,
        "command": "python -m tests.goldens.make.llama_nemotron_rerank_tiny",
    }
    (FOLDER / "made_with.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
