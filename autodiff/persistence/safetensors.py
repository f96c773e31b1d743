"""The safetensors format. What `write` wrote also has in its metadata what the format itself lacks: a checksum, and the
names of the complex128 arrays, which are stored as float64, (...) as (..., 2), the real and the imaginary parts.

Layout: 8 bytes, the length of the header; the header, JSON; then all numbers, without gaps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from .arrays import CHUNK, Array, Refused, filled_from, require_encodable

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "C64": "complex64", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip
_METADATA, _CHECKSUM, _STATE, _PAIRS = "__metadata__", "autodiff.sha256", "autodiff.state", "autodiff.complex128"
_LONGEST_HEADER = 100_000_000  # the library's own limit


def write(
    file: IO[bytes], arrays: dict[str, Array], state: str | None = None, tied: Mapping[str, str] | None = None
) -> None:
    """Write arrays by name, and a text that says what they are parts of. Of names that are tied to others, a word in
    the metadata stands for the array.

    Raises:
        TypeError, ValueError: for dtypes and names that the format does not have, and a text that is too long for it.
        ImportError: without the library.
    """
    tied = tied or {}
    arrays = {name: array for name, array in arrays.items() if name not in tied}
    pairs = [name for name, array in arrays.items() if array.dtype == np.complex128]
    arrays = {**arrays, **{name: arrays[name][..., None].view(np.float64) for name in pairs}}
    for name, array in arrays.items():
        if name == _METADATA:
            raise ValueError(f"save: safetensors keeps the name {_METADATA!r} for itself")
        if array.dtype.name not in _DTYPES.values():
            raise TypeError(f"save: {name!r} has dtype {array.dtype}, which safetensors does not have; use .npz")
        require_encodable(name)
    library = _library()
    try:
        written = memoryview(library.numpy.save(arrays))
    except (library.SafetensorError, KeyError) as error:  # complex64 came late
        raise TypeError(
            f"save: this version of the safetensors library cannot write these dtypes ({error}); use .npz"
        ) from None
    length = int.from_bytes(written[:8], "little")
    entries, numbers = json.loads(bytes(written[8 : 8 + length])), written[8 + length :]
    said = {} if state is None else {_STATE: state}
    if pairs:
        said[_PAIRS] = json.dumps(pairs)
    checksum = _begun(entries, said)
    checksum.update(numbers)
    metadata = {**tied, _CHECKSUM: checksum.hexdigest(), **said}
    header = json.dumps({_METADATA: metadata, **entries}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the numbers begin at a multiple of 8 bytes
    if len(header) > _LONGEST_HEADER:
        raise ValueError(
            f"save: all but the arrays takes {len(header)} bytes, safetensors holds {_LONGEST_HEADER}; save long lists "
            f"of numbers as arrays"
        )
    file.write(len(header).to_bytes(8, "little") + header)
    file.write(numbers)


def read(file: IO[bytes], size: int, path: Path) -> tuple[dict[str, Array], str | None]:
    """Read arrays by name, and the text that was written with them (None without one). The library checks the whole
    header; where the numbers lie is then read from it by hand, because NumPy has no bfloat16 and the library no other
    way to it.

    Args:
        file: open, of so many bytes.
        size: that many.
        path: of the file.

    Raises:
        Refused: for anything but such a file, or one whose checksum is another.
        ImportError: without the library.
    """
    library = _library()
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, _LONGEST_HEADER):
        raise Refused(
            f"is no safetensors file, or cut short: it has {size} bytes and says that its header has {length}"
        )
    try:
        with library.safe_open(path, framework="numpy"):
            pass
        entries = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
    except (library.SafetensorError, ValueError, RecursionError) as error:
        raise Refused(f"is no valid safetensors file: {error}") from None
    if not isinstance(entries, dict):
        raise Refused("is no valid safetensors file: its header is no object")
    metadata = entries.pop(_METADATA, None)
    metadata = metadata if isinstance(metadata, dict) else {}
    said = {key: metadata[key] for key in (_STATE, _PAIRS) if key in metadata}
    if _CHECKSUM in metadata:
        _require_checksum(file, 8 + length, _begun(entries, said), metadata[_CHECKSUM])
    elif _STATE in said:
        raise Refused("is damaged: the checksum that it was saved with is missing")
    pairs = _complex(said.get(_PAIRS), entries)
    arrays = {}
    for name, entry in entries.items():
        kind, shape, begin, end = _checked(name, entry)
        if kind != "BF16" and kind not in _DTYPES:
            raise Refused(f"{name!r} has dtype {kind}, for which NumPy has none")
        stored = np.dtype("uint16" if kind == "BF16" else _DTYPES[kind]).newbyteorder("<")
        if end - begin != math.prod(shape) * stored.itemsize or 8 + length + end > size:
            raise Refused(f"{name!r} of shape {shape} and dtype {kind} does not fit {end - begin} bytes")
        file.seek(8 + length + begin)
        array = filled_from(file, shape, stored, name)
        if kind == "BF16":  # a float32 without its lower half
            array = np.left_shift(array, 16, dtype=np.uint32, out=np.empty(array.shape, np.uint32)).view(np.float32)
        arrays[name] = array.view(np.complex128)[..., 0] if name in pairs else array
    return arrays, said.get(_STATE)


def _library() -> Any:
    try:
        import safetensors.numpy  # only here: importing autodiff does not need it
    except ImportError as error:
        raise ImportError(
            "files that end in .safetensors need the safetensors library: pip install safetensors "
            "(.npz files need nothing but NumPy)"
        ) from error
    return safetensors


def _checked(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """An entry of the header: dtype, shape, and where its numbers begin and end."""
    match entry:
        case {"dtype": str(kind), "shape": [*shape], "data_offsets": [begin, end]} if all(
            type(n) is int and n >= 0 for n in (*shape, begin, end)
        ):
            return kind, tuple(shape), begin, end
    raise Refused(f"is no valid safetensors file: {name!r} has the entry {str(entry)[:200]}")


def _complex(said: str | None, entries: dict[str, Any]) -> set[str]:
    """The names of the arrays that hold complex128 as pairs."""
    if said is None:
        return set()
    try:
        names = json.loads(said)
    except (TypeError, ValueError, RecursionError):
        names = None
    if isinstance(names, list) and all(isinstance(name, str) and name in entries for name in names):
        kinds = [_checked(name, entries[name])[:2] for name in names]
        if all(kind == "F64" and shape[-1:] == (2,) for kind, shape in kinds):
            return set(names)
    raise Refused(
        f"is no valid safetensors file: of complex128 it says {str(said)[:200]}, which does not fit its arrays"
    )


def _without_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Refused(f"the name {name!r} stands in it twice")
        found[name] = value
    return found


def _begun(entries: dict[str, Any], said: dict[str, str]) -> Any:
    """A checksum to which the numbers are still to be added: names, dtypes, shapes, places and what is said of them are
    in it."""
    from hashlib import sha256  # here: programs that touch no file do without

    return sha256(json.dumps([entries, said] if said else entries, sort_keys=True).encode())


def _require_checksum(file: IO[bytes], start: int, checksum: Any, expected: Any) -> None:
    file.seek(start)
    while chunk := file.read(CHUNK):
        checksum.update(chunk)
    if checksum.hexdigest() != expected:
        raise Refused("is damaged: it has not the checksum that it was saved with")
