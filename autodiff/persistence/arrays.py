"""What reading any format needs: arrays filled from a file, and the error for files that are not as they say."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

Array = np.ndarray[Any, Any]

CHUNK = 1 << 18
"""Bytes read at a time: a zip archive copies what it unpacks."""


class Refused(ValueError):
    """What is wrong with a file; `saving.load` adds its name."""


def filled_from(file: Any, shape: tuple[int, ...], dtype: Any, name: str) -> Array:
    """An array of the machine's byte order, read from where the file stands.

    Raises:
        Refused: for a shape that no array can have, or a file that ends too soon.
    """
    try:
        array = np.empty(shape, dtype)
    except (ValueError, OverflowError) as error:
        raise Refused(f"{name!r} has a shape that no array can have, {shape}: {error}") from None
    if array.size:
        view = memoryview(cast(Any, array.reshape(-1).view(np.uint8)))
        done = 0
        while done < len(view):
            n = file.readinto(view[done : done + CHUNK])
            if not n:
                raise Refused(f"is cut short within {name!r}")
            done += n
    if array.dtype.kind == "b":  # a byte of a file may hold more than 0 and 1
        array = array.view(np.uint8) != 0
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def require_encodable(name: str) -> None:
    """Raise ValueError for a name that no file can hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"save: the name {name!r} cannot be written as UTF-8") from None
