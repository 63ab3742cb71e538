"""qwen3-vl-reranker-tiny: a seeded Qwen3-VL, scored by transformers and the published steps.

The steps (prompt, images, cut, readout) are written here from scripts/qwen3_vl_reranker.py of the
checkpoint and from the package qwen_vl_utils 0.0.14; nothing of this project is used.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

GOLDENS: Final = Path(__file__).parents[1]
FOLDER: Final = GOLDENS / "qwen3-vl-reranker-tiny"
INSTRUCTION: Final = "Given a search query, retrieve relevant candidates that answer the query."
SYSTEM: Final = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".'
)
FACTOR: Final = 32
PIXELS: Final = {"min_pixels": 4096, "max_pixels": 20480}

WORDS: Final = (
    "green tea leaf water steam river train clock winter cream skin city capital France rank "
    "score query document image page window answer Straße naïve 東京 チャイ чай 🍵 ไทย"
)

TEXT: Final[dict[str, Any]] = {
    "model_type": "qwen3_vl_text",
    "attention_bias": False,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "max_position_embeddings": 262144,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"},
    "rope_theta": 5000000,
    "tie_word_embeddings": True,
}
VISION: Final[dict[str, Any]] = {
    "model_type": "qwen3_vl",
    "deepstack_visual_indexes": [0, 1],
    "depth": 3,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 16,
    "in_channels": 3,
    "intermediate_size": 24,
    "num_heads": 2,
    "num_position_embeddings": 25,
    "out_hidden_size": 32,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}


def compact_tokenizer() -> dict[str, Any]:
    """Qwen's make, with the answers as tokens and added tokens numbered without a gap."""
    made: dict[str, Any] = json.loads(
        (GOLDENS / "jina-reranker-v3" / "tokenizer.json").read_text("utf-8")
    )
    made["added_tokens"] = [
        token for token in made["added_tokens"] if "rerank" not in token["content"]
    ]
    names = [token["content"] for token in made["added_tokens"]]
    model = made["model"]
    model["vocab"] = {name: number for name, number in model["vocab"].items() if number < 151643}
    for left, right in (("y", "e"), ("ye", "s"), ("n", "o")):
        if left + right not in model["vocab"]:
            model["vocab"][left + right] = max(model["vocab"].values()) + 1
            model["merges"].append(f"{left} {right}")
    first = max(model["vocab"].values()) + 1
    for number, (token, name) in enumerate(zip(made["added_tokens"], names, strict=True), first):
        token["id"] = number
        token["special"] = "|" in name and "score" not in name and "embed" not in name
    return made


def write_checkpoint() -> None:
    """Files as the hub has them; weights in bfloat16, the output layer tied."""
    (FOLDER / "images").mkdir(parents=True, exist_ok=True)
    tokenizer = compact_tokenizer()
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    (FOLDER / "tokenizer.json").write_text(text, "utf-8")
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    config = {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "image_token_id": added["<|image_pad|>"],
        "video_token_id": added["<|video_pad|>"],
        "vision_start_token_id": added["<|vision_start|>"],
        "vision_end_token_id": added["<|vision_end|>"],
        "tie_word_embeddings": True,
        "text_config": {**TEXT, "vocab_size": max(added.values()) + 1},
        "vision_config": VISION,
    }
    vocabulary = tokenizer["model"]["vocab"]
    files = {
        "config": config,
        "tokenizer_config": {"model_max_length": 262144, "tokenizer_class": "Qwen2Tokenizer"},
        "preprocessor_config": {
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "image_std": [0.5, 0.5, 0.5],
            "merge_size": 2,
            "patch_size": 16,
            "size": {"shortest_edge": PIXELS["min_pixels"], "longest_edge": PIXELS["max_pixels"]},
            "temporal_patch_size": 2,
        },
        "config_sentence_transformers": {"model_type": "CrossEncoder"},
        "modules": [
            {"idx": 0, "name": "0", "path": "", "type": f"{_BASE}.transformer.Transformer"},
            {"idx": 1, "name": "1", "path": "1_LogitScore", "type": _LOGIT},
        ],
        "1_LogitScore/config": {
            "true_token_id": vocabulary["yes"],
            "false_token_id": vocabulary["no"],
        },
    }
    for name, content in files.items():
        path = FOLDER / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=1))
    torch.manual_seed(3)
    state = Qwen3VLForConditionalGeneration(_configuration()).state_dict()
    for name, tensor in state.items():
        if "norm" in name:
            tensor.normal_(0.0 if name.endswith("bias") else 1.0, 0.2)
        elif "embed" in name and "patch" not in name:
            tensor.normal_(0.0, 1.0)
        else:
            tensor.normal_(0.0, 1.5 * max(1, math.prod(tensor.shape[1:])) ** -0.5)
    stored = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in state.items()
        if name != "lm_head.weight"
    }
    save_file(stored, FOLDER / "model.safetensors", metadata={"format": "pt"})


_BASE: Final = "sentence_transformers.base.modules"
_LOGIT: Final = "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"


def _configuration() -> Qwen3VLConfig:
    return Qwen3VLConfig(**json.loads((FOLDER / "config.json").read_text("utf-8")))


def write_images() -> None:
    """Sizes and modes that each step of an image shows in."""
    chance = np.random.default_rng(7)

    def drawn(width: int, height: int, bands: int = 3) -> Image.Image:
        rough = chance.integers(0, 256, (height // 10 + 2, width // 10 + 2, bands), dtype=np.uint8)
        mode = {3: "RGB", 4: "RGBA", 1: "L"}[bands]
        small = Image.fromarray(rough[..., 0] if bands == 1 else rough, mode)
        return small.resize((width, height), Image.Resampling.BICUBIC)

    folder = FOLDER / "images"
    drawn(96, 64).save(folder / "exact.png")
    drawn(301, 203).save(folder / "large.jpeg", quality=60)
    drawn(20, 24).save(folder / "small.png")
    drawn(15, 290).save(folder / "thin.png")
    drawn(70, 90, bands=4).save(folder / "transparent.png")
    drawn(75, 50, bands=1).save(folder / "grey.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    drawn(64, 112).save(folder / "turned.jpeg", quality=60, exif=turned)


class Vendor:
    """The published script over transformers' network in float32, one pair after the other."""

    def __init__(self) -> None:
        self.tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
        added = self.tokenizer.get_added_tokens_decoder()
        self.special = {number for number, token in added.items() if token.special}
        self.network = Qwen3VLForConditionalGeneration(_configuration()).eval()
        state = {name: t.float() for name, t in load_file(FOLDER / "model.safetensors").items()}
        state["lm_head.weight"] = state["model.language_model.embed_tokens.weight"]
        self.network.load_state_dict(state)
        yes, no = (self.tokenizer.token_to_id(word) for word in ("yes", "no"))
        rows = self.network.lm_head.weight.data
        self.row = rows[yes] - rows[no]
        given = json.loads((FOLDER / "preprocessor_config.json").read_text("utf-8"))
        self.processor = Qwen2VLImageProcessorPil(
            **{key: value for key, value in given.items() if key != "image_processor_type"}
        )

    @staticmethod
    def image(path: Path, *, min_pixels: int, max_pixels: int) -> Image.Image:
        """``fetch_image`` of qwen_vl_utils with the patches of Qwen3-VL."""
        image = Image.open(path)
        if image.mode == "RGBA":
            white = Image.new("RGB", image.size, (255, 255, 255))
            white.paste(image, mask=image.split()[3])
            image = white
        else:
            image = image.convert("RGB")
        height, width = image.height, image.width
        rows = max(FACTOR, round(height / FACTOR) * FACTOR)
        columns = max(FACTOR, round(width / FACTOR) * FACTOR)
        if rows * columns > max_pixels:
            beta = math.sqrt(height * width / max_pixels)
            rows = math.floor(height / beta / FACTOR) * FACTOR
            columns = math.floor(width / beta / FACTOR) * FACTOR
        elif rows * columns < min_pixels:
            beta = math.sqrt(min_pixels / (height * width))
            rows = math.ceil(height * beta / FACTOR) * FACTOR
            columns = math.ceil(width * beta / FACTOR) * FACTOR
        return image.resize((columns, rows))

    def cut(self, ids: list[int], limit: int) -> list[int]:
        """Special tokens stay; of the others the first ones."""
        if len(ids) <= limit:
            return ids
        left = limit - sum(number in self.special for number in ids)
        kept = []
        for number in ids:
            if number in self.special:
                kept.append(number)
            elif left > 0:
                kept.append(number)
                left -= 1
        return kept

    @torch.inference_mode()
    def score(
        self,
        query: dict[str, str],
        document: dict[str, str],
        *,
        instruction: str = INSTRUCTION,
        max_length: int = 8192,
        **pixels: int,
    ) -> dict[str, Any]:
        """The log-odds of yes, and the ids of the prompt."""
        images: list[Image.Image] = []

        def side(given: dict[str, str]) -> str:
            if not given.get("text") and not given.get("image"):
                return "NULL"
            shown = ""
            if given.get("image"):
                images.append(self.image(FOLDER / given["image"], **(PIXELS | pixels)))
                count = images[-1].height * images[-1].width // FACTOR**2
                shown = f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>"
            return shown + (given.get("text") or "")

        prompt = (
            f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<Instruct>: {instruction}"
            f"<Query>:{side(query)}\n<Document>:{side(document)}<|im_end|>\n<|im_start|>assistant\n"
        )
        ids = self.tokenizer.encode(prompt, add_special_tokens=False).ids
        ids = [*self.cut(ids[:-5], max_length), *ids[-5:]]
        tokens = torch.tensor([ids])
        shown: dict[str, Any] = {}
        if images:
            seen = self.processor(images, do_resize=False, return_tensors="pt")
            kinds = (tokens == self.network.config.image_token_id).long()
            shown = {**seen, "mm_token_type_ids": kinds}
        hidden = self.network.model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), **shown
        ).last_hidden_state[0, -1]
        return {"ids": ids, "logit": float(hidden @ self.row)}


def cases() -> list[dict[str, Any]]:
    """Lists and arguments that each rule of the script shows in."""
    chance = random.Random(11)

    def text(count: int) -> str:
        return " ".join(chance.choices(WORDS.split(), k=count))

    names = ["exact.png", "large.jpeg", "small.png", "thin.png", "transparent.png", "grey.png"]
    images = [f"images/{name}" for name in [*names, "turned.jpeg"]]
    nasty = [
        *("", " ", "\n", "\nfirst a break", "(bracket", ":colon", "  two spaces", "yes", "NULL"),
        *("緑茶は体に良い。", "e\u0301 \u0301", "\U0001f469\u200d\U0001f467", "Straße\r\n\r\n"),
        *("a <|im_end|>\n<|im_start|>user\nb", "<|endoftext|>", "<think>\n\n</think>"),
    ]
    texts = [{"text": one} for one in nasty]
    shown = [{"image": one} for one in images]
    both = [{"image": one, "text": text(5)} for one in images]
    mixed = [*shown[:3], *both[3:6], {"text": text(8)}, {"text": ""}]
    long = [
        {"text": text(150)},
        {"text": text(30)},
        {"text": f"{text(40)} <|im_end|> {text(40)} <|endoftext|> {text(30)}"},
        {"image": images[0], "text": text(120)},
        {"image": images[1]},
    ]
    return [
        {"id": "texts", "query": {"text": "what is green tea?"}, "documents": texts},
        {"id": "empty_query", "query": {"text": ""}, "documents": texts[:4]},
        {"id": "query_ends_in_a_break", "query": {"text": "tea!\n"}, "documents": texts[:6]},
        {
            "id": "instruction",
            "query": {"text": "tea"},
            "documents": [*texts[:3], *both[:1]],
            "kwargs": {"instruction": "Retrieve images or text relevant to the user's query."},
        },
        {"id": "images", "query": {"text": text(4)}, "documents": shown},
        {"id": "texts_and_images", "query": {"text": text(4)}, "documents": both},
        {"id": "mixed", "query": {"text": text(6)}, "documents": mixed},
        {"id": "image_query", "query": {"image": images[4]}, "documents": mixed},
        {
            "id": "image_and_text_query",
            "query": {"image": images[6], "text": "like this one?"},
            "documents": mixed,
        },
        {
            "id": "pixel_limits",
            "query": {"text": text(3)},
            "documents": [*shown[:2], *both[2:3]],
            "kwargs": {"min_pixels": 8192, "max_pixels": 40960},
        },
        {"id": "cut", "query": {"text": text(5)}, "documents": long, "kwargs": {"max_length": 260}},
        {
            "id": "cut_in_the_query",
            "query": {"text": text(60)},
            "documents": long,
            "kwargs": {"max_length": 190},
        },
        {
            "id": "many",
            "query": {"text": text(4)},
            "documents": [{"text": text(chance.randint(1, 12))} for _ in range(40)],
        },
    ]


def main() -> None:
    """Write the folder anew."""
    torch.set_num_threads(1)
    write_checkpoint()
    write_images()
    vendor, lines = Vendor(), []
    for given in cases():
        case = {"kwargs": {}} | given
        said = [vendor.score(case["query"], one, **case["kwargs"]) for one in case["documents"]]
        logits = [one["logit"] for one in said]
        print(case["id"], [len(one["ids"]) for one in said][:8], np.round(logits[:5], 2))
        case["expected"] = {
            "logits": logits,
            "n_tokens": [len(one["ids"]) for one in said],
            "input_ids_sha256": [
                hashlib.sha256(json.dumps(one["ids"]).encode()).hexdigest() for one in said
            ],
        }
        lines.append(json.dumps(case, ensure_ascii=False))
    (FOLDER / "cases.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    made = {
        "library": "transformers",
        "version": transformers.__version__,
        "torch": torch.__version__,
        "command": "python -m tests.goldens.make.qwen3_vl_reranker_tiny",
    }
    (FOLDER / "made_with.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
