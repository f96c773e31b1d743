"""The npz format: a zip archive with one npy file for each array. It is read if every byte of it is accounted for.

Source: PKWARE, "APPNOTE.TXT – .ZIP file format specification", 6.3, sections 4.3 to 4.5.
"""

from __future__ import annotations

import errno
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from .arrays import Array, Refused, filled_from, require_encodable

if TYPE_CHECKING:
    import zipfile  # in functions only: most programs that import autodiff touch no file

_LARGEST_EXPANSION = 200  # times the file's size; repeated bytes can be packed a thousandfold
_ALWAYS_ALLOWED = 1 << 26  # bytes that any file may expand to


def write(
    file: IO[bytes], arrays: dict[str, Array], state: str | None = None, tied: Mapping[str, str] | None = None
) -> None:
    """Write arrays by name, tied ones as well.

    Raises:
        ValueError: for names that the format does not have, and a text that says what the arrays are parts of.
    """
    if state is not None:
        raise ValueError("save: an npz file holds arrays by name; dicts inside a dict need name.safetensors")
    import zipfile

    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            require_encodable(name)
            if "\0" in name or len(name.encode()) > 65000:
                raise ValueError(f"save: npz cannot hold the name {name[:80]!r}")
            member = zipfile.ZipInfo(f"{name}.npy")  # of a fixed date: equal tensors give equal files
            with archive.open(member, "w", force_zip64=True) as inside:
                np.lib.format.write_array(inside, array, allow_pickle=False)


def read(file: IO[bytes], size: int, path: Path) -> tuple[dict[str, Array], None]:
    """Read arrays by name; no text is with them.

    Args:
        file: open, of so many bytes.
        size: that many.
        path: of the file.

    Raises:
        Refused: for anything but such a file.
    """
    import zipfile
    from zlib import error as zlib_error

    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_sizes(members, size)
            _check_directory(file, size, members)
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise Refused(f"the name {name!r} stands in it twice")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
                    raise Refused(f"{name!r} is encrypted, or packed in a way that NumPy does not use")
                with archive.open(member) as inside:
                    arrays[name] = _read_npy(inside, member.file_size, name)
    except Refused:
        raise
    except (
        zipfile.BadZipFile, zlib_error, struct.error, EOFError, ValueError, RuntimeError, OverflowError,
    ) as error:  # fmt: skip
        raise Refused(f"is no valid npz file, or cut short: {error}") from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # these come from offsets outside the file
            raise
        raise Refused("is no valid npz file, or cut short") from None
    return arrays, None


def _check_sizes(members: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse archives that say they hold more than they can (members that overlap), or expand to a bomb."""
    if sum(member.compress_size for member in members) > size:
        raise Refused(f"is no valid npz file: it has {size} bytes and says that its arrays take more")
    expanded = sum(member.file_size for member in members)
    if expanded > max(_LARGEST_EXPANSION * size, _ALWAYS_ALLOWED):
        raise Refused(f"expands from {size} to {expanded} bytes, which is refused; write it with numpy.savez")


# The directory: zipfile believes it, even where it lists less than the file holds, so that arrays would be missing.

_END = struct.Struct("<4s4H2LH")  # of the archive
_LOCATOR_64, _END_64 = struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")  # before it, in large ones
_HEADER = struct.Struct("<4s5H3L2H")  # before each member, with the lengths of what follows
_FOLLOWED, _DESCRIPTORS = 1 << 3, (12, 16, 20, 24)  # the flag of members that a descriptor follows, and its sizes


def _check_directory(file: IO[bytes], size: int, members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive whose end says something else than its directory, or which holds anything but the members
    listed there, one after another."""
    end, count, length, start = _end(file, size)
    if count != len(members) or start + length != end:
        raise Refused(
            f"is damaged: it says that {count} arrays are listed in {length} bytes from {start} on, but {len(members)} "
            f"are, up to {end}"
        )
    place, between = 0, [0]
    for member in sorted(members, key=lambda member: member.header_offset):
        _require_nothing_between(place, member.header_offset, between)
        file.seek(member.header_offset)
        *_, name, extra = _HEADER.unpack(file.read(_HEADER.size))
        place = member.header_offset + _HEADER.size + name + extra + member.compress_size
        between = [*_DESCRIPTORS] if member.flag_bits & _FOLLOWED else [0]
    _require_nothing_between(place, start, between)


def _require_nothing_between(place: int, then: int, sizes: list[int]) -> None:
    if then - place not in sizes:
        raise Refused(f"is damaged: it holds something between {place} and {then} that its directory does not list")


def _end(file: IO[bytes], size: int) -> tuple[int, int, int, int]:
    """Where the directory ends, how many members it lists, how long it is and where it starts: what the archive's end
    says of it."""
    file.seek(max(0, size - _END.size - 0xFFFF))  # a comment of any length may follow
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    _, _, _, _, count, length, start, comment = _END.unpack_from(tail, at)
    end = size - len(tail) + at
    if end + _END.size + comment != size:
        raise Refused("is damaged: it is longer or shorter than it says")
    if end >= _LOCATOR_64.size + _END_64.size:
        file.seek(end - _LOCATOR_64.size - _END_64.size)
        large, locator = file.read(_END_64.size), file.read(_LOCATOR_64.size)
        if locator.startswith(b"PK\6\7"):
            signature, *_, count, length, start = _END_64.unpack(large)
            if signature != b"PK\6\6":
                raise Refused("is damaged: its second end is missing")
            end -= _LOCATOR_64.size + _END_64.size
    return end, count, length, start


# One array


def _read_npy(file: IO[bytes], size: int, name: str) -> Array:
    npy = np.lib.format
    try:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise Refused(f"{name!r} is an npy file of version {version}, which holds no plain numbers")
        shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    except (Refused, OSError):
        raise
    except Exception as error:  # whatever NumPy's parser makes of a header that a foreign file has
        raise Refused(f"{name!r} is no npy file: {error}") from None
    if dtype.kind not in "fciub":
        what = "holds pickled Python objects, which are never read" if dtype.hasobject else f"has dtype {dtype}"
        raise Refused(f"{name!r} {what}; integers, floats, complex numbers and booleans can be loaded")
    start = file.tell()
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != size - start:
        raise Refused(f"{name!r} of shape {shape} and dtype {dtype} does not fit its {size - start} bytes")
    array = filled_from(file, shape[::-1] if fortran else shape, dtype, name)
    if file.read(1):  # reading to the end has the checksum checked
        raise Refused(f"{name!r} is longer than it says")
    return array.T if fortran else array
