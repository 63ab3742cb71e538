"""What a bench of the engine is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from pipeline.bench.inputs.workloads import WORKLOADS, Size
from pipeline.bench.models.shapes import Scale, Shape
from pipeline.bench.own_models import shape_or_model
from pipeline.errors import ConfigurationError

Asked = Literal["auto", "packed", "padded"]
Device = Literal["cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16", "float16", "int8", "float8"]

#: Documents of a unit in a pass of the engine alone, unless asked otherwise.
UNIT_DOCUMENTS: Final = 5_000

#: Options with a fixed set of values: the field, its option, and the values.
_CHOICES: Final = (
    ("engine", "--engine", get_args(Asked)),
    ("size", "--size", get_args(Size)),
    ("device", "--device", get_args(Device)),
    ("dtype", "--dtype", get_args(Precision)),
    ("scale", "--shape", get_args(Scale)),
)


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure.

    Attributes:
        cache: folder of checkpoints.
        workload: its name.
        model: a shape's name, or a model's as ``model.name`` has it; None: the workload's own.
        scale: real or tiny networks.
        engine: in which way the engine runs; ``auto`` is what a run would do.
        rounds: passes over the workload.
        size: of the workload.
        reuse: in how many lists each document is.
        seed: of the texts.
        device: cpu or cuda.
        dtype: as ``engine.dtype`` of a job.
        threads: of torch on CPU; None: as torch has it.
        unit_documents: as ``units.documents`` of a job; None: :data:`UNIT_DOCUMENTS` in a pass of
            the engine alone, and see :func:`pipeline.bench.run_input.unit_documents` for a run.
        end_to_end: also run it as a job on a local Ray.
        run_documents: that job ranks at least so many, the workload's lists copied with other
            queries; None: the workload once.

    Raises:
        ConfigurationError: a value is not one that an option has, the workload or the model is
            unknown, or they do not go together; named as the command line has it.
    """

    cache: Path
    workload: str = "msmarco"
    model: str | None = None
    scale: Scale = "real"
    engine: Asked = "auto"
    rounds: int = 3
    size: Size = "s"
    reuse: int = 1
    seed: int = 0
    device: Device = "cpu"
    dtype: Precision = "auto"
    threads: int | None = None
    unit_documents: int | None = None
    end_to_end: bool = False
    run_documents: int | None = None

    def __post_init__(self) -> None:
        for name, option, known in _CHOICES:
            value = getattr(self, name)
            if value not in known:
                raise ConfigurationError(f"{option}: '{value}' is not one of {', '.join(known)}")
        if self.run_documents is not None and not self.end_to_end:
            raise ConfigurationError(
                "--run-documents: says how many documents the run of --end-to-end ranks; add "
                "--end-to-end, or leave it out"
            )
        self.shape()

    def shape(self) -> Shape:
        """The model's shape.

        Raises:
            ConfigurationError: see the class.
        """
        if self.workload not in WORKLOADS:
            raise ConfigurationError(
                f"--workload: no workload '{self.workload}'; there are {', '.join(WORKLOADS)}"
            )
        suited = WORKLOADS[self.workload].models
        shape = shape_or_model(self.model or suited[0])
        if shape.model is not None:
            self._check_own()
        elif shape.name not in suited:
            raise ConfigurationError(
                f"--model: {shape.name} does not suit the workload {self.workload}; these do: "
                f"{', '.join(suited)}"
            )
        return shape

    def _check_own(self) -> None:
        """Refuse what only networks of our own making have."""
        if WORKLOADS[self.workload].document is None:
            raise ConfigurationError(
                f"--model: the workload {self.workload} has pages, which are scored with "
                f"{', '.join(WORKLOADS[self.workload].models)} alone"
            )
        if self.scale != "real":
            raise ConfigurationError("--shape: tiny networks are made of shapes, not of models")
