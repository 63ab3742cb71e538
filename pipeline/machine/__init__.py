"""What this machine has for a process: CPUs, memory, GPUs. Without torch and Ray."""

from pipeline.machine.host import cpus, memory_bytes
from pipeline.machine.nvidia import Gpu, driver_version, gpus

__all__ = ["Gpu", "cpus", "driver_version", "gpus", "memory_bytes"]
