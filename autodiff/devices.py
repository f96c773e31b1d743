"""Devices, as programs for PyTorch name them: the processor, and GPUs, on which arrays are CuPy's."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import numpy as np

from .device_arrays import DeviceArray, device_array, on

_DEVICE = re.compile(r"(cpu|cuda|mps|xpu|hip|tpu|meta)(?::(\d+))?")


def somewhere_on(where: str, device: Any) -> DeviceArray | None:
    """An empty array on a GPU, beside which others are put; None for the processor.

    Raises:
        RuntimeError: where CuPy is not installed, or there is no such GPU; and for other makers' devices.
    """
    named = _DEVICE.fullmatch(str(device))
    assert named is not None
    if named[1] == "cpu":
        return None
    if named[1] != "cuda":
        raise RuntimeError(f"{where}: arrays on {str(device)!r} are not supported; write 'cpu', or 'cuda' for a GPU")
    try:
        cupy = import_module("cupy")
    except ImportError:
        raise RuntimeError(
            f"{where}: {str(device)!r} needs CuPy; install 'autodiff[cuda12]' or 'autodiff[cuda13]', as the driver's "
            f"version of CUDA is, or write 'cpu'"
        ) from None
    try:
        with cupy.cuda.Device(int(named[2] or 0)):
            return DeviceArray(cupy.empty(0))
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"{where}: there is no {str(device)!r} here: {error}") from None


def is_beside(array: Any, beside: DeviceArray | None) -> bool:
    """Whether an array is where another is, or in the processor's memory (None)."""
    if type(array) is not DeviceArray:
        return beside is None
    return beside is not None and str(array.device) == str(beside.device)


def put(array: Any, beside: DeviceArray | None) -> Any:
    """The array where another is: on its device, or in the processor's memory (None); itself if it is there."""
    if is_beside(array, beside):
        return array
    host = array.get() if type(array) is DeviceArray else np.asarray(array)
    if beside is None:
        return host
    with on(beside):
        return np.asarray(host, like=beside)


def as_numpy(value: Any) -> np.ndarray[Any, Any]:
    """A tensor or an array as one of NumPy's: a copy where it is on a device."""
    return np.asarray(put(device_array(getattr(value, "_ndarray", value)), None))


def place_of(array: Any) -> DeviceArray | None:
    """What `put` takes to put others beside this array."""
    return array[:0] if type(array) is DeviceArray and array.ndim else array if type(array) is DeviceArray else None


def destination(where: str, target: Any, device: Any = None, dtype: Any = None) -> tuple[Any, np.dtype[Any] | None]:
    """Where to, and which dtype, PyTorch's ``to(target)``, ``to(device, dtype)`` asks for; None for no change.

    Args:
        where: begins the messages.
        target: a device, a dtype, or a tensor whose dtype and device are meant.
        device, dtype: the same by name.

    Returns:
        ``(beside, dtype)``: what `put` takes, in a tuple of one, or None; and the dtype, or None.

    Raises:
        TypeError: for what is neither.
        RuntimeError: for a device that is not there.
    """
    beside: Any = None
    for asked in (target, device):
        if asked is not None and not hasattr(asked, "shape") and _DEVICE.fullmatch(str(asked)):
            place = somewhere_on(where, asked)
            beside = (place,)
        elif asked is target and asked is not None:
            if dtype is not None:
                raise TypeError(f"{where}: takes one dtype, not {target!r} and {dtype!r}")
            if hasattr(target, "shape") and not isinstance(target, (type, np.dtype)):  # dtypes have shapes, too
                dtype, beside = target.dtype, (place_of(device_array(getattr(target, "_ndarray", target))),)
            else:
                dtype = target
        elif asked is not None:
            raise TypeError(f"{where}: takes a device such as 'cpu' or 'cuda', not {asked!r}")
    try:
        return beside, None if dtype is None else np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"{where}: takes a device ('cpu', 'cuda') or a NumPy dtype such as 'float64', not {dtype!r}"
        ) from None
