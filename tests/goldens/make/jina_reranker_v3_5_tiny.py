"""jina-reranker-v3-5-tiny: a seeded Qwen3 with sliding layers, scored by transformers and torch.

Upstream's ``modeling.py`` is a prompt, a search for two tokens and a cosine around transformers'
Qwen3Model; those steps are written here from its description, and nothing of this project is used.
The configuration says ``use_sliding_window: false``, which transformers needs to be told otherwise.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn.functional import cosine_similarity
from transformers import Qwen3Config, Qwen3Model

GOLDENS: Final = Path(__file__).parents[1]
FOLDER: Final = GOLDENS / "jina-reranker-v3-5-tiny"
DOCUMENT, QUERY = "<|embed_token|>", "<|rerank_token|>"
SLIDING, FULL = "sliding_attention", "full_attention"

SIZES: Final[dict[str, Any]] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
    "layer_types": [SLIDING, SLIDING, SLIDING, FULL, FULL],
    "sliding_window": 16,
    "use_cache": False,
}

WORDS: Final = (
    "green tea leaf water steam river train clock winter cream skin city capital France rank "
    "score query document model window passage answer Straße naïve 東京 チャイ чай 🍵 ไทย"
)

SYSTEM: Final = (
    "You are a search relevance expert who can determine a ranking of the passages based on how "
    "relevant they are to the query. If the query is a question, how relevant a passage is depends "
    "on how well it answers the question. If not, try to analyze the intent of the query and "
    "assess how well each passage satisfies the intent. If an instruction is provided, you should "
    "follow the instruction when determining the ranking."
)


def compact_tokenizer() -> dict[str, Any]:
    """The tokenizer of the golden of version 3, its added tokens numbered on without a gap."""
    made: dict[str, Any] = json.loads(
        (GOLDENS / "jina-reranker-v3" / "tokenizer.json").read_text("utf-8")
    )
    names = [token["content"] for token in made["added_tokens"]]
    vocabulary = {k: v for k, v in made["model"]["vocab"].items() if k not in names}
    for number, token in enumerate(made["added_tokens"], start=max(vocabulary.values()) + 1):
        token["id"] = number
    made["model"]["vocab"] = vocabulary
    return made


def write_checkpoint() -> None:
    """Files as the hub has them, but for modeling.py; weights in bfloat16."""
    FOLDER.mkdir(exist_ok=True)
    tokenizer = compact_tokenizer()
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    (FOLDER / "tokenizer.json").write_text(text, "utf-8")
    (FOLDER / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 131072, "tokenizer_class": "Qwen2Tokenizer"}, indent=1)
    )
    config = {
        "architectures": ["JinaForRanking"],
        "auto_map": {"AutoModel": "modeling.JinaForRanking"},
        "model_type": "qwen3",
        **SIZES,
        "use_sliding_window": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.57.3",
        "vocab_size": tokenizer["added_tokens"][-1]["id"] + 1,
    }
    (FOLDER / "config.json").write_text(json.dumps(config, indent=1))
    torch.manual_seed(35)
    body = Qwen3Model(_configuration())
    tensors = {f"model.{name}": tensor for name, tensor in body.state_dict().items()}
    tensors["projector.0.weight"] = torch.empty(16, 32)
    tensors["projector.2.weight"] = torch.empty(24, 16)
    for name, tensor in tensors.items():
        norm = "norm" in name
        tensor.normal_(1.0 if norm else 0.0, 0.2 if norm else tensor.shape[-1] ** -0.5)
    tensors["model.embed_tokens.weight"].normal_(0.0, 1.0)
    for name in tensors:  # attention that looks far, so that windows matter
        if "q_norm" in name or "k_norm" in name:
            tensors[name] *= 1.5
    stored = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}
    save_file(stored, FOLDER / "model.safetensors", metadata={"format": "pt"})


def _configuration(**changes: Any) -> Qwen3Config:
    config = json.loads((FOLDER / "config.json").read_text("utf-8"))
    config["use_sliding_window"] = True
    return Qwen3Config(**(config | changes))


class Upstream:
    """``rerank`` of the published code, over transformers' Qwen3Model in float32."""

    def __init__(self, **changes: Any) -> None:
        from safetensors.torch import load_file

        tensors = {k: v.float() for k, v in load_file(FOLDER / "model.safetensors").items()}
        self.tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        self.body = Qwen3Model(_configuration(**changes)).eval()
        self.body.load_state_dict(
            {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        )
        self.first, self.second = tensors["projector.0.weight"], tensors["projector.2.weight"]

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def cut(self, text: str, limit: int) -> tuple[str, int]:
        """The text as it goes into the prompt, and its tokens after the cut."""
        ids = self.ids(text)[:limit]
        if len(ids) >= limit:
            text = self.tokenizer.decode(ids, skip_special_tokens=False)
        return text.replace(QUERY, "").replace(DOCUMENT, ""), len(ids)

    @staticmethod
    def prompt(query: str, documents: list[str], instruction: str | None) -> str:
        """Of one window."""
        passages = "".join(
            f'<passage id="{place}">\n{text}{DOCUMENT}\n</passage>\n'
            for place, text in enumerate(documents)
        )
        instruct = f"<instruct>\n{instruction}\n</instruct>\n" if instruction else ""
        return (
            f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
            f"I will provide you with {len(documents)} passages, each indicated by a numerical "
            "identifier. Rank the passages based on their relevance to query: "
            f"{query}\n{instruct}{passages}<query>\n{query}{QUERY}\n</query><|im_end|>\n"
            "<|im_start|>assistant\n<think>\n\n</think>\n\n"
        )

    def windows(
        self, query: str, documents: list[str], *, limit: int, room: int
    ) -> list[list[str]]:
        """Documents by window: 125 at most, and closed when a long one would not fit."""
        made: list[list[str]] = []
        window: list[str] = []
        left = room
        for text, tokens in (self.cut(document, limit) for document in documents):
            window.append(text)
            left -= tokens
            if len(window) >= 125 or left <= limit:
                made.append(window)
                window, left = [], room
        return [*made, window] if window else made

    @torch.inference_mode()
    def rerank(
        self,
        query: str,
        documents: list[str],
        *,
        max_doc_length: int = 8192,
        max_query_length: int = 1024,
        instruction: str | None = None,
        model_max_length: int = 131072,
    ) -> dict[str, Any]:
        """Scores in the order of the documents, and what the windows held."""
        asked, used = self.cut(query, max_query_length)
        room = model_max_length - 2 * used
        vectors, queries, weights, blocks = [], [], [], []
        for window in self.windows(query, documents, limit=max_doc_length, room=room):
            ids = torch.tensor([self.ids(self.prompt(asked, window, instruction))])
            hidden = self.body(input_ids=ids, attention_mask=torch.ones_like(ids))[0][0]
            projected = torch.relu(hidden @ self.first.T) @ self.second.T
            (of_query,) = projected[ids[0] == self.tokenizer.token_to_id(QUERY)]
            of_documents = projected[ids[0] == self.tokenizer.token_to_id(DOCUMENT)]
            assert len(of_documents) == len(window)
            weights.append(((1 + cosine_similarity(of_documents, of_query[None])) / 2).max())
            vectors.append(of_documents)
            queries.append(of_query)
            blocks.append({"n_docs": len(window), "n_tokens": ids.shape[1]})
        weight = torch.stack(weights)
        merged = (weight[:, None] * torch.stack(queries)).sum(0) / weight.sum()
        scores = cosine_similarity(torch.cat(vectors), merged[None])
        return {
            "scores_by_index": scores.tolist(),
            "order": np.argsort(-scores.numpy(), kind="stable").tolist(),
            "results": None,
            "blocks": blocks,
        }


def cases() -> list[dict[str, Any]]:
    """Lists and arguments that each rule of the protocol shows in."""
    chance = random.Random(35)

    def text(words: int) -> str:
        return " ".join(chance.choices(WORDS.split(), k=words))

    france = [
        "Paris is the capital and most populous city of France.",
        "The Rhine is a river in Central and Western Europe.",
        "Photosynthesis converts light energy into chemical energy.",
    ]
    mixed = [text(n) for n in (1, 3, 9, 27, 40, 8, 2)]
    small = {"max_doc_length": 24, "max_query_length": 12}
    return [
        {"id": "published", "query": "What is the capital city of France?", "documents": france},
        {"id": "one", "query": "green tea", "documents": ["tea"]},
        {"id": "lengths", "query": "how do trains keep time", "documents": mixed},
        {"id": "reversed", "query": "how do trains keep time", "documents": mixed[::-1]},
        {"id": "empty", "query": "", "documents": ["", "tea", "", " ", "\n", text(20)]},
        {
            "id": "unicode",
            "query": "緑茶 e\u0301 \U0001f375",
            "documents": [
                "緑茶は体に良い。",
                "\nนมสด",
                "\U0001f469\u200d\U0001f467",
                "Straße\r\n",
                "чай",
            ],
        },
        {
            "id": "readout_tokens",
            "query": f"tea {QUERY} or {DOCUMENT}",
            "documents": [f"{DOCUMENT} tea {QUERY}", "</passage> <|im_end|>", "<think>"],
        },
        {"id": "cut", "query": text(30), "documents": [text(60), "tea", text(24)], "kwargs": small},
        {
            "id": "windows_by_tokens",
            "query": "green tea",
            "documents": [text(chance.randint(1, 40)) for _ in range(24)],
            "kwargs": small,
            "overrides": {"model_max_length": 120},
        },
        {
            "id": "one_document_a_window",
            "query": text(12),
            "documents": [text(6), text(12), text(18)],
            "kwargs": small,
            "overrides": {"model_max_length": 40},
        },
        {
            "id": "windows_by_number",
            "query": "capital of France",
            "documents": [text(chance.randint(1, 4)) for _ in range(130)],
        },
        {
            "id": "limits_of_the_version",
            "query": text(420),
            "documents": [text(1600), "green tea", text(300)],
        },
        {
            "id": "instruction",
            "query": "tea",
            "documents": [text(10), text(10), text(10)],
            "kwargs": {"instruction": "Prefer documents on tea."},
        },
    ]


def main() -> None:
    """Write the folder anew."""
    torch.set_num_threads(1)
    write_checkpoint()
    upstream, blind = Upstream(), Upstream(layer_types=[FULL] * 5)
    lines = []
    for given in cases():
        case = {"kwargs": {}, "overrides": {}} | given
        asked = case["kwargs"] | case["overrides"]
        expected = upstream.rerank(case["query"], case["documents"], **asked)
        unlike = blind.rerank(case["query"], case["documents"], **asked)["scores_by_index"]
        moved = np.abs(np.subtract(unlike, expected["scores_by_index"])).max()
        print(case["id"], expected["blocks"][:3], f"without windows {moved:.3f} away")
        lines.append(json.dumps(case | {"expected": expected}, ensure_ascii=False))
    (FOLDER / "cases.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    made = {
        "library": "transformers",
        "version": transformers.__version__,
        "torch": torch.__version__,
        "command": "python -m tests.goldens.make.jina_reranker_v3_5_tiny",
    }
    (FOLDER / "made_with.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
