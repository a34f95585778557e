"""How much memory a machine has to spare for states."""

from pathlib import Path

import torch

_CPU_SHARE, _CUDA_SHARE = 0.5, 0.9
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN_BYTES = 2 << 30


def state_budget_bytes(device: torch.device) -> int:
    """A share of the memory that is free on the device now; the model's weights are there already."""
    if device.type == "cuda":
        return int(_CUDA_SHARE * torch.cuda.mem_get_info(device)[0])
    known = [size for size in (_available(_MEMINFO), _left(_CGROUP)) if size is not None]
    return int(_CPU_SHARE * min(known)) if known else _UNKNOWN_BYTES


def _available(meminfo: Path) -> int | None:
    """What Linux could give a process without swapping, bytes."""
    try:
        lines = meminfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(sizes[0][1]) * 1024 if sizes else None


def _left(cgroup: Path) -> int | None:
    """What a container may still take, bytes; None without a limit."""
    try:
        limit, used = ((cgroup / f"memory.{name}").read_text(encoding="utf-8") for name in ("max", "current"))
    except OSError:
        return None
    return None if limit.strip() == "max" else max(int(limit) - int(used), 0)
