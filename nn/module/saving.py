"""Models and checkpoints in files: safetensors or npz, never pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autodiff import load as load_tensors
from autodiff import save as save_tensors
from autodiff.persistence.files import FilePath

from .module import Module


def save(model: Module | Mapping[str, Any], path: FilePath) -> None:
    """Write a model's parameters and buffers, or a checkpoint, to a file, which is replaced whole or left as it was.

    Args:
        model: a module, or a state (Tensors or arrays by name). Or a checkpoint: a dict with dicts in it, of the states
            of a model, an optimiser, a schedule, a generator, of numbers, strings, lists … as `ad.save` takes it.
        path: a file whose name ends in ``.safetensors`` (which PyTorch reads too; needs the ``safetensors`` library) or
            ``.npz``.

    Raises:
        TypeError: for anything else, or values that are no real numbers.
        ValueError: for another suffix.
        OSError: if the file cannot be written, naming it.

    >>> import pathlib, tempfile, nn
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.npz"
    >>> nn.save(nn.Linear(3, 2), path)
    >>> model = nn.Linear(3, 2)
    >>> model.load_state_dict(nn.load(path))
    Incompatible(missing_keys=[], unexpected_keys=[])

    A checkpoint::

        nn.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                 "generator": nn.get_rng_state(), "epoch": epoch}, "checkpoint.safetensors")
        saved = nn.load("checkpoint.safetensors")
        model.load_state_dict(saved["model"])
    """
    if not isinstance(model, (Module, Mapping)):
        raise TypeError(f"nn.save: takes a module or its state_dict(), not {type(model).__name__}")
    save_tensors(model.state_dict() if isinstance(model, Module) else model, path)


def load(path: FilePath) -> dict[str, Any]:
    """Read a state from a file, for `Module.load_state_dict`, or a checkpoint; a PyTorch model that was saved with
    safetensors is a state.

    Args:
        path: a file whose name ends in ``.safetensors`` or ``.npz``.

    Returns:
        Constant Tensors by name; bfloat16 becomes float32. Of a checkpoint, the dict that was saved.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that is cut short, of another format or malicious, naming it.
    """
    return load_tensors(path)
