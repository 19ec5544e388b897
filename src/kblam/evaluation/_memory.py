"""The peak memory of a stretch of work."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

__all__ = ["peak_memory_mb", "reset_peak_memory"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the peak resident set size
_MIB = 1024 * 1024


def reset_peak_memory(device: torch.device) -> None:
    """Start measuring anew, where the system allows it (CUDA, Linux); else the peak stays."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return


def peak_memory_mb(device: torch.device) -> float | None:
    """The peak since the reset in MiB: of the CUDA device's memory, else of the whole process.

    Returns:
        None where the system does not tell (Windows without CUDA).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return _lifetime_peak_mb()
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return peaks[0] / 1024 if peaks else _lifetime_peak_mb()


def _lifetime_peak_mb() -> float | None:
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MIB if sys.platform == "darwin" else peak / 1024
