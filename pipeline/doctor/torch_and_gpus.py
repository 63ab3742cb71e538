"""Whether torch's build, the driver and the GPUs go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.doctor.cuda_builds import (
    BUILDS,
    Build,
    driver_fits,
    fitting,
    has_kernels,
    least_driver,
)
from pipeline.doctor.finding import Finding, note, ok, problem
from pipeline.doctor.torch_probe import TorchBuild
from pipeline.machine import Gpu
from pipeline.plurals import agreeing, counted

_ROOT: Final = Path("/")

#: https://pcisig.com/membership/member-companies: NVIDIA; classes of displays and 3D controllers.
_NVIDIA: Final = "0x10de"
_DISPLAYS: Final = ("0x0300", "0x0302")


def torch_and_gpus(
    torch: TorchBuild,
    driver: str | None,
    gpus: Sequence[Gpu],
    *,
    visible: str | None,
    on_bus: int = 0,
    wanted: bool = False,
) -> list[Finding]:
    """What is said of torch, the driver and each GPU.

    Args:
        torch: the build that is installed.
        driver: version of NVIDIA's; None: none answers.
        gpus: those that this process may use.
        visible: ``CUDA_VISIBLE_DEVICES``; None: not set.
        on_bus: NVIDIA GPUs on the PCI bus, whatever answers for them.
        wanted: whether the job needs one.
    """
    found = [_torch(torch, driver, gpus)]
    found.append(_driver(torch, driver, on_bus, wanted))
    if gpus:
        found += [_gpu(torch, driver, gpu) for gpu in gpus]
    else:
        found.append(_no_gpu(driver, visible, wanted))
    return found


def gpus_on_bus(root: Path = _ROOT) -> int:
    """NVIDIA GPUs that the kernel knows by the PCI bus, with or without a driver."""
    count = 0
    for device in (root / "sys/bus/pci/devices").glob("*"):
        try:
            vendor = (device / "vendor").read_text().strip()
            kind = (device / "class").read_text().strip()
        except OSError:
            continue
        count += vendor == _NVIDIA and kind.startswith(_DISPLAYS)
    return count


def _torch(torch: TorchBuild, driver: str | None, gpus: Sequence[Gpu]) -> Finding:
    if torch.version is None:
        return problem("torch", "not installed", f"install it: {_how(_fit(driver, gpus))}")
    build = f"{torch.version}, {'CPU only' if torch.cuda is None else f'CUDA {torch.cuda}'}"
    if torch.failed:
        return problem(
            "torch", f"{build}, fails: {torch.failed}", _after_failure(torch, driver, gpus)
        )
    if torch.cuda is None and gpus:
        better = _fit(driver, gpus)
        to_do = (
            f"install a build for it: {_how(better)}"
            if better is not None
            else "no build of torch that is tested here goes with this driver and GPU: update the "
            f"driver ({driver}) and install one, see docs/install.md"
        )
        return problem(
            "torch",
            f"{build}, and there is {_named(gpus)}, which it cannot use",
            f"{to_do}; or hide the GPU: CUDA_VISIBLE_DEVICES=''",
        )
    runs = None not in (torch.cuda, driver) and driver_fits(str(driver), str(torch.cuda))
    if runs and len(torch.capabilities) < len(gpus):
        return problem(
            "torch",
            f"{build}, sees {len(torch.capabilities)} of {len(gpus)} GPUs",
            "look at `nvidia-smi` and the kernel's log for errors of the driver (Xid); a restart "
            "of the machine, or nvidia-modprobe in a container, is the usual cure",
        )
    return ok("torch", build)


def _after_failure(torch: TorchBuild, driver: str | None, gpus: Sequence[Gpu]) -> str:
    if torch.cuda is not None and driver is not None and not driver_fits(driver, torch.cuda):
        return "see the driver below"
    return (
        f"install it again: {_how(_fit(driver, gpus))}, then look at `nvidia-smi` where a GPU fails"
        if torch.cuda is not None
        else f"install it again: {_how(None)}"
    )


def _driver(torch: TorchBuild, driver: str | None, on_bus: int, wanted: bool) -> Finding:
    if driver is None:
        if on_bus:
            return problem(
                "driver",
                f"none answers, and {_count(on_bus, 'NVIDIA GPU')} on the PCI bus",
                "install NVIDIA's driver (580 or later runs every build of torch), load it, and "
                "restart after an update; give a container its GPUs (docker run --gpus all)",
            )
        if wanted:
            return problem("driver", "none answers", "run where there are GPUs, or see gpus")
        return ok("driver", "none of NVIDIA's, as on a machine without GPUs")
    if torch.cuda is None:
        return ok("driver", driver)
    if torch.capabilities and not torch.failed:  # with NVIDIA's compatibility package, too
        return ok(
            "driver", f"{driver}, and torch computes on {_gpus(torch)} with CUDA {torch.cuda}"
        )
    if driver_fits(driver, torch.cuda):
        return ok("driver", f"{driver} runs CUDA {torch.cuda}")
    least = least_driver(torch.cuda)
    older = _fit(driver, ())
    instead = f", or install a build that it runs: {_how(older)}" if older is not None else ""
    return problem(
        "driver",
        f"{driver} is too old for torch {torch.version}: CUDA {torch.cuda} needs {least} or later",
        f"update the driver to {least} or later{instead}",
    )


def _gpu(torch: TorchBuild, driver: str | None, gpu: Gpu) -> Finding:
    subject, memory = f"gpu {gpu.index}", f"{gpu.memory_bytes / 2**30:,.0f} GiB"
    if gpu.capability is None:
        return ok(subject, f"{gpu.name}, {memory}")
    spoken = ".".join(map(str, gpu.capability))
    found = f"{gpu.name}, {memory}, compute capability {spoken}"
    if torch.cuda is None or not torch.kernels:
        return ok(subject, found)
    if has_kernels(torch.kernels, gpu.capability):
        return ok(subject, f"{found}: torch has kernels for it")
    better = _fit(driver, [gpu])
    to_do = (
        f"install a build that has them: {_how(better)}"
        if better is not None
        else "use another GPU, or set replicas.num_gpus to 0"
    )
    return problem(
        subject, f"{found}: torch {torch.version} has no kernels for it ({_list(torch)})", to_do
    )


def _no_gpu(driver: str | None, visible: str | None, wanted: bool) -> Finding:
    hidden = driver is not None and visible is not None
    found = f"none: CUDA_VISIBLE_DEVICES={visible!r} hides them" if hidden else "none"
    if wanted:
        return problem(
            "gpus",
            f"{found}, and replicas.num_gpus asks for them",
            "run where there are some, join a cluster that has them (ray.address), or set "
            "replicas.num_gpus to 0",
        )
    if hidden:
        return note("gpus", found, "unset it to use them; else the CPUs score")
    return ok("gpus", f"{found}; the CPUs score")


def _fit(driver: str | None, gpus: Sequence[Gpu]) -> Build | None:
    """The build to install here: the newest that driver and GPUs take; of CPUs without them."""
    capabilities = [gpu.capability for gpu in gpus if gpu.capability is not None]
    return None if driver is None else fitting(driver, capabilities)


def _how(build: Build | None) -> str:
    build = BUILDS[0] if build is None else build
    return f"{build.command} (in a checkout: make install BUILD={build.name})"


def _gpus(torch: TorchBuild) -> str:
    return counted(len(torch.capabilities), "GPU")


def _list(torch: TorchBuild) -> str:
    return " ".join(torch.kernels)


def _named(gpus: Sequence[Gpu]) -> str:
    return gpus[0].name if len(gpus) == 1 else f"{len(gpus)} GPUs ({gpus[0].name}, ...)"


def _count(number: int, what: str) -> str:
    return f"{counted(number, what)} {agreeing(number, 'are')}"
