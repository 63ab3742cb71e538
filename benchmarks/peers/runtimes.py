"""The same network in runtimes that are not torch: ONNX Runtime and OpenVINO, on CPU.

Both get what their own documentation asks for: pairs sorted by length, in batches of 32 that are
padded to their longest, and torch's number of threads. int8 is each runtime's own: dynamic
quantisation by channel (onnxruntime.ai/docs/performance/model-optimizations/quantization.html), and
NNCF's quantisation after calibration on 64 pairs of another seed
(docs.openvino.ai, "Basic Quantization Flow").
"""

from __future__ import annotations

import inspect
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.harness.contender import Contender, pairs_of
from pipeline.bench.engines import Scored
from pipeline.bench.inputs.workloads import WORKLOADS, make, part
from pipeline.bench.subject import Subject
from pipeline.candidates.lists import CandidateLists

_BATCH: Final = 32
_CALIBRATION_PAIRS: Final = 64

Inputs = dict[str, npt.NDArray[np.int64]]


class _Runtime(Contender):
    """A network of transformers elsewhere; scores are its logits."""

    def __init__(self, subject: Subject) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        assert subject.twin is not None, "a peer is asked whether a shape suits it"
        self.tokenizer: Any = AutoTokenizer.from_pretrained(subject.twin, local_files_only=True)
        self.longest = subject.shape.settings.get("max_length")
        self.threads = torch.get_num_threads()
        network = AutoModelForSequenceClassification.from_pretrained(
            subject.twin, dtype=torch.float32, local_files_only=True
        )
        self.load(network.eval(), subject)

    @abstractmethod
    def load(self, network: Any, subject: Subject) -> None:
        """Take the network over."""

    @abstractmethod
    def logits(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """float32 [b, 1]."""

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """All units in one call: tokenised, sorted, scored and put back."""
        pairs = [pair for lists in units for pair in pairs_of(lists)]
        encoded = self.tokenizer(
            [query for query, _ in pairs],
            [text for _, text in pairs],
            truncation=True,
            max_length=self.longest,
        )
        order = np.argsort([-len(ids) for ids in encoded["input_ids"]], kind="stable")
        scores = np.empty(len(pairs), dtype=np.float32)
        computed = 0
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            rows = {name: [each[i] for i in chosen] for name, each in encoded.items()}
            inputs = self._padded(rows)
            computed += inputs["input_ids"].size
            scores[chosen] = self.logits(inputs)[:, 0]
        return Scored(scores=scores, computed=computed)

    def _padded(self, rows: dict[str, list[list[int]]]) -> Inputs:
        padded = self.tokenizer.pad(rows, padding="longest", return_tensors="np")
        return {name: np.asarray(values, dtype=np.int64) for name, values in padded.items()}

    def examples(self, subject: Subject) -> list[Inputs]:
        """Single pairs of the workload's kind, of another seed, to calibrate with."""

        def tokens(texts: list[str]) -> Any:
            ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
            return np.array([len(each) for each in ids])

        work = make(WORKLOADS["msmarco"], "s", seed=1, tokens=tokens)
        pairs = pairs_of(part(work.lists, 0, len(work.lists)))[:_CALIBRATION_PAIRS]
        return [
            self._padded({name: [ids] for name, ids in self.tokenizer(*pair).items()})
            for pair in pairs
        ]


def _traced(network: Any, tokenizer: Any) -> dict[str, Any]:
    """Inputs to follow a network by, in the order in which its forward takes them."""
    import torch

    taken = inspect.signature(network.forward).parameters
    known = tokenizer("a", "b").keys()
    return {name: torch.ones(2, 16, dtype=torch.long) for name in taken if name in known}


class OnnxRuntime(_Runtime):
    """ONNX Runtime's CPU provider, all optimisations."""

    def __init__(self, subject: Subject, *, int8: bool) -> None:
        self.int8 = int8
        self.name = "onnxruntime-int8" if int8 else "onnxruntime"
        self.about = f"ONNX Runtime, sorted, batches of {_BATCH}" + (", int8" if int8 else "")
        self.precision = "int8" if int8 else "float32"
        super().__init__(subject)

    def load(self, network: Any, subject: Subject) -> None:
        """Export to a file, which is read back."""
        import onnxruntime
        import torch

        inputs = _traced(network, self.tokenizer)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            torch.onnx.export(
                network,
                (inputs,),
                str(path),
                input_names=list(inputs),
                output_names=["logits"],
                dynamic_axes={name: {0: "batch", 1: "length"} for name in inputs},
                opset_version=17,
                dynamo=False,
            )
            if self.int8:
                from onnxruntime.quantization import QuantType, quantize_dynamic

                whole, path = path, path.with_name("int8.onnx")
                quantize_dynamic(whole, path, per_channel=True, weight_type=QuantType.QInt8)
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )

    def logits(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """float32 [b, 1]."""
        found: npt.NDArray[np.float32] = self.session.run(["logits"], inputs)[0]
        return found


class OpenVino(_Runtime):
    """OpenVINO's CPU plug-in."""

    def __init__(self, subject: Subject, *, precision: str) -> None:
        """``precision``: float32, bfloat16 (what it takes by itself where there is one) or int8."""
        self.precision = precision
        self.name = "openvino" if precision == "float32" else f"openvino-{precision}"
        self.about = f"OpenVINO, {precision}, sorted, batches of {_BATCH}"
        super().__init__(subject)

    def load(self, network: Any, subject: Subject) -> None:
        """Convert from torch, and compile."""
        import openvino

        model = openvino.convert_model(network, example_input=_traced(network, self.tokenizer))
        if self.precision == "int8":
            import nncf

            examples = nncf.Dataset(self.examples(subject))
            model = nncf.quantize(
                model,
                examples,
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=_CALIBRATION_PAIRS,
            )
        # What int8 leaves over runs as OpenVINO has it by itself: in bfloat16 where there is one.
        hint = {"float32": {"INFERENCE_PRECISION_HINT": "f32"}}.get(self.precision, {})
        self.compiled = openvino.Core().compile_model(
            model, "CPU", {"INFERENCE_NUM_THREADS": self.threads, **hint}
        )

    def logits(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """float32 [b, 1]."""
        found: npt.NDArray[np.float32] = self.compiled(inputs)[0]
        return found
