"""What this machine has for a process: CPUs, memory, GPUs. Without torch and Ray."""

from pipeline.machine.host import cpus, memory_bytes
from pipeline.machine.nvidia import Gpu, driver_cuda, driver_version, gpus
from pipeline.machine.torch_build import torch_cuda

__all__ = [
    "Gpu",
    "cpus",
    "driver_cuda",
    "driver_version",
    "gpus",
    "memory_bytes",
    "torch_cuda",
]
