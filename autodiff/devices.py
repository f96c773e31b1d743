"""Devices, as programs for PyTorch name them: arrays live in the processor's memory, and on no GPU yet."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

_DEVICE = re.compile(r"(cpu|cuda|mps|xpu|hip|tpu|meta)(:\d+)?")


def require_cpu(where: str, device: Any) -> None:
    """Raise unless a device is the processor, "cpu" (or None, or an object that writes itself so).

    Raises:
        TypeError: for what names no device.
        RuntimeError: for a GPU.
    """
    named = _DEVICE.fullmatch(str(device))
    if device is not None and (named is None or isinstance(device, bool)):
        raise TypeError(f"{where}: takes 'cpu' (or None), not {device!r}")
    if named and named[1] != "cpu":
        raise RuntimeError(
            f"{where}: arrays on {str(device)!r} are not supported yet; everything is computed by NumPy on the "
            f"processor; leave the device out, or write 'cpu'"
        )


def dtype_to(where: str, target: Any, device: Any = None, dtype: Any = None) -> np.dtype[Any] | None:
    """The dtype that PyTorch's ``to(target)``, ``to(device, dtype)`` asks for; None if only for a device.

    Args:
        where: begins the messages.
        target: a device, a dtype, or a tensor whose dtype is meant.
        device, dtype: the same by name.

    Raises:
        TypeError: for what is neither.
        RuntimeError: for a GPU.
    """
    if _DEVICE.fullmatch(str(target)):
        require_cpu(where, target)
    elif target is not None:
        if dtype is not None:
            raise TypeError(f"{where}: takes one dtype, not {target!r} and {dtype!r}")
        dtype = getattr(target, "dtype", target) if hasattr(target, "shape") else target
    require_cpu(where, device)
    try:
        return None if dtype is None else np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{where}: takes a device ('cpu') or a NumPy dtype such as 'float64', not {dtype!r}") from None
