"""`save` and `load`: tensors by name, and nested dicts of them, in a file whose suffix says the format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..device_arrays import device_array
from ..devices import put
from ..tensor import Tensor, plain, wrap
from .arrays import Array, Refused
from .encoding import decoded, encoded
from .files import FilePath, named, open_file, replace_file


def save(tensors: Mapping[str, Any], path: FilePath) -> None:
    """Write tensors by name to a file, which is replaced as a whole or, if anything goes wrong, left as it was.

    Args:
        tensors: Tensors, arrays or numbers by name; integers, floats, complex numbers and booleans of any shape. Or a
            dict with dicts in it, a checkpoint: then its items, and theirs, are Tensors, arrays, numbers, strings,
            None, and lists, tuples and dicts of these, and come back as such. (It needs ``.safetensors``, where others
            find each array under its path, ``model.0.weight``, and the rest as JSON in the header.)
        path: a file whose name ends in ``.safetensors`` (read by PyTorch, JAX … too; needs the ``safetensors``
            library; which has no complex128: that is written as pairs of float64, shape (..., 2), and read as
            it was by `load`) or ``.npz`` (read by `numpy.load`).

    Raises:
        TypeError: for anything but a mapping from strings to numbers or a checkpoint, or a dtype that the format lacks,
            naming the key.
        ValueError: for another suffix, a name that the format cannot hold, or dicts that contain themselves.
        OSError: if the file cannot be written, naming it.
        ImportError: for ``.safetensors`` without the library.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.npz"
    >>> save({"w": Tensor([1.0, 2.0], requires_grad=True)}, path)
    >>> load(path)
    {'w': Tensor([1., 2.])}
    >>> path = path.with_suffix(".safetensors")
    >>> save({"epoch": 3, "model": {"w": Tensor([1.0, 2.0])}, "losses": [0.5, 0.25]}, path)
    >>> load(path)
    {'epoch': 3, 'model': {'w': Tensor([1., 2.])}, 'losses': [0.5, 0.25]}
    """
    write(tensors, path)


def write(tensors: Mapping[str, Any], path: FilePath, tied: Mapping[str, str] | None = None) -> None:
    """What `save` does. In safetensors names that are `tied` to another are not written, but noted in the header, as
    the safetensors library does with PyTorch's models."""
    target = Path(path)
    format = _format_of(target, "save")
    if not isinstance(tensors, Mapping):
        raise TypeError(f"save: takes a dict of Tensors by name, not {type(tensors).__name__}")
    state, items = None, dict(tensors)
    if any(isinstance(value, Mapping) for value in items.values()):
        import json  # only here, as below: most programs touch no file

        parts: dict[str, Array] = {}
        try:
            state = json.dumps(encoded(items, "", parts), allow_nan=False)
        except RecursionError:
            raise ValueError("save: the dicts contain themselves, or are nested too deeply") from None
        items = parts
    arrays = {_checked_name(name): _checked_array(name, value) for name, value in items.items()}
    replace_file(target, lambda file: format.write(file, arrays, state, tied))


def load(path: FilePath) -> dict[str, Any]:
    """Read what `save`, `numpy.savez` or the safetensors library wrote.

    Args:
        path: a file whose name ends in ``.safetensors`` or ``.npz``.

    Returns:
        Constant Tensors by name, of the dtypes that were saved; bfloat16, which NumPy does not have, becomes float32
        (exactly). Of a checkpoint, what was saved: its dicts, with Tensors where Tensors were and arrays where arrays
        were.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: for what is no file: a folder, a pipe, a device; none is waited for.
        ValueError: for another suffix, and for a file that is damaged, cut short, of another format, contradicts
            itself, or holds what is no array of numbers (pickled objects are never read); naming the file. Damage
            is found by checksums, which npz files have, and those safetensors files that `save` wrote.
        ImportError: for ``.safetensors`` without the library.
    """
    source = Path(path)
    format = _format_of(source, "load")
    try:
        with open_file(source) as file:
            arrays, state = format.read(file, os.fstat(file.fileno()).st_size, source)
        found = {name: wrap(array) for name, array in arrays.items()}
        return found if state is None else _nested(state, found)
    except Refused as error:
        raise ValueError(f"load: {source}: {error}") from None
    except OSError as error:
        raise named(error, source) from None


def _nested(state: str, arrays: Mapping[str, Tensor]) -> dict[str, Any]:
    """The dict that a text stands for."""
    import json

    try:
        found = decoded(json.loads(state), arrays)
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused(f"what stands in its header is no checkpoint: {error}") from None
    if not isinstance(found, dict):
        raise Refused(f"what stands in its header is no checkpoint, but a {type(found).__name__}")
    return found


def _format_of(path: Path, where: str) -> ModuleType:
    name = path.suffix.lower().removeprefix(".")
    if name not in ("safetensors", "npz"):
        raise ValueError(
            f"{where}: the suffix says which format: name.safetensors or name.npz, not {os.fspath(path)!r}"
        )
    return import_module(f".{name}", __package__)  # only now: most programs that import autodiff touch no file


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"save: names are strings, not {name!r}")
    return name


def _checked_array(name: str, value: Any) -> Array:
    """The value as a contiguous array of the machine's byte order."""
    try:
        array = put(device_array(plain(value)), None)
        array = array if isinstance(array, np.ndarray) else np.asarray(array)
    except Exception as error:
        raise TypeError(f"save: {name!r} is no array ({error})") from None
    if array.dtype.kind not in "fciub":
        raise TypeError(
            f"save: {name!r} has dtype {array.dtype}; integers, floats, complex numbers and booleans can be saved"
        )
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")
