"""A training's state in a folder, so that it can be taken up again as if it had never stopped.

The folder has ``checkpoint.json``, which holds the numbers and names the files with the arrays (safetensors):
``model-12.safetensors`` (the weights, for `nn.load`) and ``training-12.safetensors`` (other arrays, the optimiser's).
Each checkpoint has new files of its own, whose names the JSON file gives before they are made; only when they are on
the disk is it replaced, in one step, to say that they hold; only then are the old files deleted. So at every moment,
whatever happens, the folder holds a whole checkpoint, and nothing is deleted or replaced that the JSON file did not
name: other files in the folder, whatever they are called, are somebody else's.

The JSON file has the checksums of the files that it names, and one of its own content, so that no damage is taken for
a state. While a training writes into the folder, ``.autodiff-training.lock`` keeps others out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from autodiff import Tensor
from autodiff.persistence import saving
from autodiff.persistence.encoding import decoded, encoded
from autodiff.persistence.files import FilePath, open_file, replace_file

from ..array import Array
from . import locking

_WITHOUT_CHECKSUMS, _FORMAT = 1, 2  # those that are read, the second one is written
_KEYS = {"format", "serial", "files", "others", "state"}
_OURS = re.compile(r"(model|training)-\d{1,18}\.safetensors")
_NOTHING: dict[str, Any] = {
    "format": _FORMAT, "serial": 0, "files": {"model": None, "training": None, "best": None}, "others": [],
    "checksums": {}, "state": None,
}  # fmt: skip
"""The index before the first checkpoint: it names the files that are being made, and none that holds."""


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

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside the ``with`` block the folder belongs to this training.

        Raises:
            RuntimeError: if it belongs to another one that is still going on.
        """
        try:
            with locking.held(self.folder / ".autodiff-training.lock"):
                yield
        except locking.Taken as error:
            raise RuntimeError(
                f"fit: a training that is still going on writes its checkpoints into {self.folder} ({error}); wait for "
                f"its end, or give this one another folder"
            ) from None

    def read(self) -> tuple[dict[str, Tensor], dict[str, Tensor] | None, Any] | None:
        """The model's weights, the best weights (or None) and the rest of the state; None if there is no checkpoint.

        Raises:
            ValueError: for files that no training wrote, or that were changed since or are missing, naming them.
        """
        content = self._content()
        if content is None:
            left = sorted(path.name for path in self.folder.glob("training-*.safetensors"))
            if left:
                raise ValueError(
                    f"{self.index} is missing, and {', '.join(left)} of the checkpoint beside it are there; put it "
                    f"back, or move them out of the folder to start anew"
                )
            return None
        files = content["files"]
        if files["model"] is None:
            return None
        for name in {*files.values()} - {None}:
            self._require_whole(name, content.get("checksums"))
        model, training = (saving.load(self.folder / files[key]) for key in ("model", "training"))
        best = saving.load(self.folder / files["best"]) if files["best"] else None
        try:
            state = decoded(content["state"], training)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged(error) from None
        self._best = files["best"]
        return model, best, state

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
        before = self._content() or _NOTHING
        named = _names(before)
        serial = before["serial"] + (before["files"]["model"] is not None)
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
        _own_checksum(content)  # raises here, before anything is written, if at all
        self._replace_index(before | {"others": sorted(named | set(new.values()))})
        saving.save(weights, self.folder / new["model"])
        saving.save(arrays, self.folder / new["training"])
        known = before.get("checksums", {})
        names = {name for name in files.values() if name is not None}
        sums = {name: known[name] if name in known else self._checksum(name) for name in sorted(names)}
        self._replace_index(content | {"checksums": sums})
        self._best = files["best"]
        for name in old:
            with suppress(OSError):
                (self.folder / name).unlink()

    def keep(self) -> None:
        """Put a copy of a checkpoint that is there, of another training, into a folder ``earlier-1`` (or -2, …) inside:
        nothing that was saved is lost."""
        content = self._content()
        if content is None or content["files"]["model"] is None:
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

    # The JSON file

    def _content(self) -> dict[str, Any] | None:
        try:
            with open_file(self.index) as file:
                text = file.read()
        except FileNotFoundError:
            return None
        try:
            return _checked(json.loads(text.decode(), parse_constant=_refused))
        except (ValueError, RecursionError) as error:
            raise self._damaged(error) from None

    def _replace_index(self, content: dict[str, Any]) -> None:
        if content["format"] != _WITHOUT_CHECKSUMS:
            content = content | {"checksum": _own_checksum(content)}
        text = json.dumps(content, indent=1, allow_nan=False).encode()
        replace_file(self.index, lambda file: file.write(text))

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(
            f"{self.index} is no checkpoint, or damaged: {error}; move it out of the folder to start anew"
        )

    # The files

    def _checksum(self, name: str) -> str:
        with open_file(self.folder / name) as file:
            return file_digest(file, "sha256").hexdigest()

    def _require_whole(self, name: str, checksums: dict[str, str] | None) -> None:
        path = self.folder / name
        try:
            if checksums is not None and self._checksum(name) != checksums[name]:
                raise ValueError(f"{path} is damaged: it is not the file that {self.index} was written with")
            path.stat()
        except FileNotFoundError:
            raise ValueError(f"{path}, of which {self.index} speaks, is missing") from None


def _new_names(serial: int) -> dict[str, str]:
    return {key: f"{key}-{serial}.safetensors" for key in ("model", "training")}


def _names(content: dict[str, Any]) -> set[str]:
    """The files that an index names: those of its checkpoint, and others that a training made and may delete."""
    return {name for name in (*content["files"].values(), *content["others"]) if name is not None}


def _own_checksum(content: dict[str, Any]) -> str:
    return sha256(json.dumps(content, allow_nan=False).encode()).hexdigest()


def _refused(name: str) -> None:
    raise ValueError(f"it has {name}")


def _checked(content: Any) -> dict[str, Any]:
    """What a JSON file holds, without its own checksum.

    Raises:
        ValueError: for what no training wrote.
    """
    match content:
        case {"format": int(number)} if number in (_WITHOUT_CHECKSUMS, _FORMAT) and number is not True:
            pass
        case _:
            raise ValueError(f"its format is neither {_WITHOUT_CHECKSUMS} nor {_FORMAT}")
    keys = _KEYS
    if number == _FORMAT:
        checksum = content.pop("checksum", None)
        if checksum != _own_checksum(content):
            raise ValueError("it has not the checksum that it was written with")
        keys = _KEYS | {"checksums"}
    content.setdefault("others", [])
    if set(content) != keys:
        raise ValueError(f"it has {sorted(content)}, and not {sorted(keys)}")
    serial, files, others = content["serial"], content["files"], content["others"]
    if type(serial) is not int or not 0 <= serial < 10**15:
        raise ValueError(f"its serial is {str(serial)[:40]}")
    if not isinstance(files, dict) or set(files) != {"model", "training", "best"} or not isinstance(others, list):
        raise ValueError("it does not name its files")
    made = [] if files == _NOTHING["files"] else [files["model"], files["training"]]
    for name in (*made, *others, *filter(lambda name: name is not None, [files["best"]])):
        if not isinstance(name, str) or not _OURS.fullmatch(name):  # nor may a name lead out of the folder
            raise ValueError(f"it names a file {str(name)[:80]!r}")
    return content
