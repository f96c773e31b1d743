"""A training's state in a folder, so that it can be taken up again as if it had never stopped.

The folder has ``checkpoint.json``, which holds the numbers and names the files with the arrays (safetensors):
``model-12.safetensors`` (the weights, for `nn.load`) and ``training-12.safetensors`` (other arrays, the optimiser's).
Each checkpoint has new files of its own, whose names the JSON file gives before they are made; only when they are on
the disk is it replaced, in one step, to say that they hold; only then are the old files deleted. So at every moment,
whatever happens, the folder holds a whole checkpoint, and nothing is deleted or replaced that the JSON file did not
name: other files in the folder, whatever they are called, are somebody else's.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.persistence import saving
from autodiff.persistence.files import FilePath, replace_file
from autodiff.random import generator

from ..array import Array

_FORMAT = 1
_OURS = re.compile(r"(model|training)-\d+\.safetensors")


class Checkpoints:
    """The checkpoint in a folder, which is made if need be.

    Args:
        folder: its path.

    Raises:
        OSError: if the folder cannot be made.
    """

    def __init__(self, folder: FilePath) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.index = self.folder / "checkpoint.json"
        self._best: str | None = None

    def read(self) -> tuple[dict[str, Tensor], dict[str, Tensor] | None, dict[str, Any]] | None:
        """The model's weights, the best weights (or None) and the rest of the state; None if there is no checkpoint.

        Raises:
            ValueError: for files that no training wrote, naming them.
        """
        content = self._content()
        if content is None:
            return None
        files = content["files"]
        model, training = (saving.load(self.folder / files[key]) for key in ("model", "training"))
        best = saving.load(self.folder / files["best"]) if files["best"] else None
        self._best = files["best"]
        return model, best, decoded(content["state"], training)

    def write(self, weights: Mapping[str, Any], state: Mapping[str, Any], *, best: bool) -> None:
        """Replace the checkpoint.

        Args:
            weights: the model's, by name.
            state: everything else, nested dicts, lists and tuples of numbers, strings and arrays.
            best: whether these weights are the best so far.

        Raises:
            TypeError: for anything else in `state`, naming the place.
            OSError: if it cannot be written; the one before is then as it was.
            ImportError: without safetensors.
        """
        before = self._content()
        named = _names(before) if before else set()
        serial = before["serial"] + 1 if before else 0
        while any(name not in named and (self.folder / name).exists() for name in _new_names(serial).values()):
            serial += 1  # a file of that name that is not ours
        new = _new_names(serial)
        files = new | {"best": new["model"] if best else self._best}
        arrays: dict[str, Array] = {}
        old = named - set(files.values())
        content = {
            "format": _FORMAT, "serial": serial, "files": files, "others": sorted(old),
            "state": encoded(state, "", arrays),
        }  # fmt: skip
        text = _json(content)
        if before is not None:
            announced = _json(before | {"others": sorted(named | set(new.values()))})
            replace_file(self.index, lambda file: file.write(announced))
        saving.save(weights, self.folder / new["model"])
        saving.save(arrays, self.folder / new["training"])
        replace_file(self.index, lambda file: file.write(text))
        self._best = files["best"]
        self._delete(old, named | set(new.values()) | {self.index.name})

    def _delete(self, files: set[str], written: set[str]) -> None:
        """Delete these files, and what a killed write of one of the `written` left."""
        unfinished = re.compile(rf"\.({'|'.join(map(re.escape, written))})\.[0-9a-f]+\.tmp")
        for path in self.folder.iterdir():
            if path.name in files or unfinished.fullmatch(path.name):
                with suppress(OSError):
                    path.unlink()

    def keep(self) -> None:
        """Put a copy of a checkpoint that is there, of another training, into a folder ``earlier-1`` (or -2, …) inside:
        nothing that was saved is lost."""
        content = self._content()
        if content is None:
            return
        number = 1
        while (target := self.folder / f"earlier-{number}").exists():
            number += 1
        target.mkdir()
        for name in {*filter(None, content["files"].values())}:
            try:
                os.link(self.folder / name, target / name)
            except OSError:  # a file system without links
                shutil.copy2(self.folder / name, target / name)
        shutil.copy2(self.index, target / self.index.name)

    def _content(self) -> dict[str, Any] | None:
        try:
            text = self.index.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            content: dict[str, Any] = json.loads(text)
            valid = content["format"] == _FORMAT and isinstance(content["serial"], int) and "state" in content
            names = [content["files"][key] for key in ("model", "training", "best")]
            # Names from a file must not lead out of the folder.
            names += content.get("others", [])
            valid = valid and all(_OURS.fullmatch(name) for name in names if name is not None) and None not in names[:2]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.index} is no checkpoint: {error!r}") from None
        if not valid:
            raise ValueError(f"{self.index} is no checkpoint of this version (format {_FORMAT})")
        return content


def _new_names(serial: int) -> dict[str, str]:
    return {key: f"{key}-{serial}.safetensors" for key in ("model", "training")}


def _names(content: dict[str, Any]) -> set[str]:
    """The files that an index names: those of its checkpoint, and others that a training made and may delete."""
    return {name for name in (*content["files"].values(), *content.get("others", [])) if name is not None}


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode()


# States as JSON, arrays apart

_TUPLE, _ARRAY, _NUMBER, _ITEMS = "$tuple", "$array", "$float", "$items"


def encoded(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    """The value as JSON has it; arrays are put under their path into `arrays`."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        value = value.item()
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_NUMBER: str(value)}
    if isinstance(value, (np.ndarray, Tensor)):
        while path in arrays:  # names may contain dots of their own
            path += "_"
        arrays[path] = value.data if isinstance(value, Tensor) else value
        return {_ARRAY: path}
    if isinstance(value, (list, tuple)):
        items = [encoded(item, f"{path}.{i}", arrays) for i, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        inside = [(key, encoded(item, f"{path}.{key}" if path else str(key), arrays)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(inside)
        return {_ITEMS: [[encoded(key, "", {}), item] for key, item in inside]}
    raise TypeError(f"checkpoint: {path} is a {type(value).__name__}, which cannot be saved: {value!r}")


def decoded(value: Any, arrays: Mapping[str, Tensor]) -> Any:
    """What `encoded` was given."""
    if isinstance(value, list):
        return [decoded(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, content),) = value.items()
        if kind == _TUPLE:
            return tuple([decoded(item, arrays) for item in content])
        if kind == _NUMBER:
            return float(content)
        if kind == _ARRAY:
            return arrays[content].data
        if kind == _ITEMS:
            return {decoded(key, arrays): decoded(item, arrays) for key, item in content}
    return {key: decoded(item, arrays) for key, item in value.items()}


# Random generators


def generators(**owners: Any) -> dict[str, Any]:
    """The generators that draw during a training, by place: those that an owner, or a module inside it, has as an
    attribute, and the default one."""
    found = {f"{owner}{place}": rng for owner, value in owners.items() for place, rng in _held(value)}
    return {**found, "default": generator()}


def _held(owner: Any) -> Iterator[tuple[str, Any]]:
    if _is_generator(owner):
        yield "", owner
        return
    holders: Iterable[tuple[str, Any]] = [("", owner)]
    if hasattr(owner, "named_modules"):
        holders = owner.named_modules()
    elif isinstance(owner, (list, tuple)):
        holders = ((str(i), item) for i, item in enumerate(owner))
    for path, holder in holders:
        for name, value in getattr(holder, "__dict__", {}).items():
            if _is_generator(value):
                yield f".{path}.{name}" if path else f".{name}", value


def _is_generator(value: Any) -> bool:
    return isinstance(value, (np.random.Generator, np.random.RandomState))


def random_state(found: Mapping[str, Any]) -> dict[str, Any]:
    """The states of these generators, of NumPy's global one and of Python's."""
    states = {place: _state(rng) for place, rng in found.items()}
    version, words, gauss = random.getstate()
    python = {"version": version, "words": np.array(words, np.uint64), "gauss": gauss}
    return {"generators": states, "numpy": np.random.get_state(legacy=False), "python": python}


def set_random_state(found: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Continue all generators from `random_state`, in place: who shares one goes on sharing it.

    Raises:
        ValueError: for other places or kinds of generators.
    """
    states = state["generators"]
    if set(states) != set(found):
        raise ValueError(
            f"fit: the checkpoint has random generators at {sorted(states)}, this training at {sorted(found)}"
        )
    for place, rng in found.items():
        kind, own = states[place]["bit_generator"], _state(rng)["bit_generator"]
        if kind != own:
            raise ValueError(f"fit: the generator {place} was a {kind}, and is a {own} now")
        if isinstance(rng, np.random.Generator):
            rng.bit_generator.state = states[place]
        else:
            rng.set_state(states[place])
    np.random.set_state(state["numpy"])
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))


def _state(rng: Any) -> dict[str, Any]:
    if isinstance(rng, np.random.Generator):
        return dict(rng.bit_generator.state)
    return dict(rng.get_state(legacy=False))
