"""LoRA adapters to two tiny goldens, saved and merged by PEFT itself.

``pip install peft==0.21.2`` into an environment of its own, then
``python -m tests.goldens.make.lora_tiny``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from safetensors.torch import save_file

GOLDENS = Path(__file__).parents[1]

#: The golden that is the base, transformers' class of it, and how the adapter is made.
ADAPTERS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "lora-bert-tiny": (
        "ms-marco-minilm-tiny",
        transformers.BertForSequenceClassification,
        # A task with labels makes PEFT train and save the head as a whole (modules_to_save).
        {"task_type": "SEQ_CLS", "r": 4, "lora_alpha": 8, "target_modules": ["query", "value"]},
    ),
    "lora-qwen3-tiny": (
        "qwen3-reranker-tiny",
        transformers.Qwen3ForCausalLM,
        {
            "task_type": "CAUSAL_LM",
            "r": 3,
            "lora_alpha": 6,
            "use_rslora": True,
            "target_modules": ["q_proj", "o_proj", "down_proj"],
        },
    ),
}


def make(name: str) -> None:
    """Write an adapter with random factors, and the tensors that PEFT merges it into."""
    base, kind, options = ADAPTERS[name]
    torch.manual_seed(5)
    network = kind.from_pretrained(GOLDENS / base, dtype=torch.float32).eval()
    network.name_or_path = f"teams/{base}"
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    adapted = peft.get_peft_model(network, peft.LoraConfig(init_lora_weights=False, **options))
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if "modules_to_save" in key:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif "lora_" in key:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    folder = GOLDENS / name
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    written = json.loads((folder / "adapter_config.json").read_text())
    written["target_modules"].sort()  # PEFT writes a set
    (folder / "adapter_config.json").write_text(json.dumps(written, indent=2) + "\n")
    merged = adapted.merge_and_unload().state_dict()
    changed = {
        key: tensor.contiguous()
        for key, tensor in merged.items()
        if not torch.equal(tensor, before[key])
    }
    save_file(changed, folder / "merged.safetensors")
    made_with = {
        "library": "peft",
        "version": peft.__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "command": "python -m tests.goldens.make.lora_tiny",
    }
    (folder / "made_with.json").write_text(json.dumps(made_with, indent=1) + "\n")
    print(name, sorted(changed))


if __name__ == "__main__":
    for adapter in ADAPTERS:
        make(adapter)
