"""sentence-transformers with another backend, as a process that scores what it is sent.

Runs in the environment that the library resolves for its extras ``onnx`` and ``openvino``
(``environment.sh`` beside it), which holds nothing of this package, so it imports nothing of it.
:mod:`benchmarks.peers.backends` starts it and says what goes over the pipe: a line of JSON in, a
line out.

int8 is what the library's page "Speeding up Inference" of cross-encoders has for a CPU
(sbert.net/docs/cross_encoder/usage/efficiency.html): dynamic quantisation for the processor's
instructions in ONNX Runtime, and static quantisation by a calibration set in OpenVINO.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Whose versions decide speed, of those that a backend has.
PACKAGES = {
    "torch": ("transformers",),
    "onnx": ("transformers", "optimum-onnx", "onnxruntime"),
    "openvino": ("transformers", "optimum-intel", "openvino", "nncf"),
}


def main() -> None:
    """Load what the first line asks for, then score every further one."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    asked = json.loads(sys.stdin.readline())
    model = _load(asked)
    computed = _counted(model)
    packages = ("sentence-transformers", *PACKAGES[asked["backend"]])
    found: dict[str, Any] = {name: importlib.metadata.version(name) for name in packages}
    while True:
        print(json.dumps(found), file=answers, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        found = _score(model, json.loads(line), computed)


def _load(asked: dict[str, Any]) -> Any:
    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(asked["threads"])

    def load(folder: str, **settings: Any) -> Any:
        return CrossEncoder(
            folder,
            backend=asked["backend"],
            device="cpu",
            max_length=asked["max_length"],
            model_kwargs={**_settings(asked), **settings},
            local_files_only=True,
        )

    if asked["backend"] == "torch":
        return load(asked["folder"])
    model = load(asked["folder"], export=True)
    if asked["precision"] != "int8":
        return model
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        file = _quantise(model, asked, folder)
        return load(folder, file_name=file)


def _settings(asked: dict[str, Any]) -> dict[str, Any]:
    """What a backend needs to be told of threads and precision."""
    if asked["backend"] == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = asked["threads"]
        return {"provider": "CPUExecutionProvider", "session_options": options}
    if asked["backend"] == "openvino":
        # By itself it takes bfloat16 where the processor has it; what int8 leaves over does, too.
        hint = {"INFERENCE_PRECISION_HINT": "f32"} if asked["precision"] == "float32" else {}
        return {"ov_config": {"INFERENCE_NUM_THREADS": asked["threads"], **hint}}
    return {}


def _quantise(model: Any, asked: dict[str, Any], folder: str) -> str:
    """Write an int8 copy of a model into its folder; where in it."""
    if asked["backend"] == "onnx":
        from sentence_transformers import export_dynamic_quantized_onnx_model

        instructions = "avx512_vnni" if asked["vnni"] else "avx2"
        export_dynamic_quantized_onnx_model(model, instructions, folder, file_suffix="int8")
        return "onnx/model_int8.onnx"
    from optimum.intel import OVQuantizationConfig  # type: ignore[import-not-found]
    from sentence_transformers import export_static_quantized_openvino_model

    with tempfile.TemporaryDirectory() as examples:
        lines = (json.dumps({"pair": pair}) for pair in asked["calibration"])
        Path(examples, "pairs.jsonl").write_text("\n".join(lines))
        export_static_quantized_openvino_model(
            model,
            OVQuantizationConfig(num_samples=len(asked["calibration"])),
            folder,
            dataset_name=examples,
            dataset_config_name="default",
            dataset_split="train",
            column_name="pair",
            file_suffix="int8",
        )
    return "openvino/openvino_model_int8.xml"


def _counted(model: Any) -> list[int]:
    """Tokens of each batch that the library makes; who reads them empties the list."""
    tokenizer, seen = model.tokenizer, []
    whole = type(tokenizer).__call__

    class Counted(type(tokenizer)):  # type: ignore[misc]
        def __call__(self, *words: Any, **named: Any) -> Any:
            found = whole(self, *words, **named)
            seen.append(int(found["input_ids"].numel()))
            return found

    Counted.__name__ = type(tokenizer).__name__
    tokenizer.__class__ = Counted
    return seen


def _score(model: Any, pairs: list[list[str]], computed: list[int]) -> dict[str, Any]:
    import torch

    computed.clear()
    pairs_of_texts = [(query, text) for query, text in pairs]
    wall, cpu = time.perf_counter(), time.process_time()
    scores = model.predict(
        pairs_of_texts,
        batch_size=32,
        activation_fn=torch.nn.Identity(),
        show_progress_bar=False,
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "scores": [float(score) for score in scores],
        "wall_s": wall,
        "cpu_s": cpu,
        "computed": sum(computed),
        "rss_bytes": _highest_rss(),
    }


def _highest_rss() -> int:
    """Of this process so far, loading among it."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
