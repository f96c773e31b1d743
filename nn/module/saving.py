"""Models and checkpoints in files: safetensors or npz, never pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autodiff import load as load_tensors
from autodiff.persistence.files import FilePath
from autodiff.persistence.saving import write

from .module import Module


def save(model: Module | Mapping[str, Any], path: FilePath) -> None:
    """Write a model's parameters and buffers, or a checkpoint, to a file, which is replaced whole or left as it was.

    Args:
        model: a module, or a state (Tensors or arrays by name). Or a checkpoint: a dict with dicts in it, of the states
            of a model, an optimiser, a schedule, a generator, of numbers, strings, lists … as `ad.save` takes it.
            Of a module's tied parameters, which have several names, safetensors gets the first name alone, with a note
            of the others, as PyTorch's models are saved (`safetensors.torch.save_model`; `load_model` there and
            `load_state_dict` here need no more).
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
    if isinstance(model, Module):
        state = model.state_dict()
        write(state, path, _tied(model, state))
    else:
        write(model, path)


def _tied(model: Module, state: Mapping[str, Any]) -> dict[str, str]:
    """Of tensors with several names in a state: to which each of them is tied, the first in alphabetical order."""
    names: dict[int, list[str]] = {}
    for named in (model.named_parameters, model.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            if name in state:
                names.setdefault(id(tensor), []).append(name)
    return {name: kept for kept, *others in map(sorted, names.values()) for name in others}


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
