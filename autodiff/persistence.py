"""Tensors by name in files: safetensors or NumPy's npz, by suffix. Nothing is ever pickled or unpickled.

Writing comes first: a file is replaced as a whole or not at all. Reading trusts nothing that a file says of itself.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from .tensor import Tensor, wrap

if TYPE_CHECKING:
    import zipfile  # in functions only: most programs that import autodiff touch no file

Array = np.ndarray[Any, Any]
FilePath = str | os.PathLike[str]


def save(tensors: Mapping[str, Any], path: FilePath) -> None:
    """Write tensors by name to a file, which is replaced as a whole or, if anything goes wrong, left as it was.

    Args:
        tensors: Tensors, arrays or numbers by name; integers, floats and booleans of any shape.
        path: a file whose name ends in ``.safetensors`` (read by PyTorch, JAX … too; needs the ``safetensors``
            library) or ``.npz`` (read by `numpy.load`).

    Raises:
        TypeError: for anything but a mapping from strings to real numbers, naming the key.
        ValueError: for another suffix, or a name that the format cannot hold.
        OSError: if the file cannot be written, naming it.
        ImportError: for ``.safetensors`` without the library.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.npz"
    >>> save({"w": Tensor([1.0, 2.0], requires_grad=True)}, path)
    >>> load(path)
    {'w': Tensor([1., 2.])}
    """
    target = Path(path)
    write = _format_of(target, "save")[0]
    if not isinstance(tensors, Mapping):
        raise TypeError(f"save: takes a dict of Tensors by name, not {type(tensors).__name__}")
    arrays = {_checked_name(name): _checked_array(name, value) for name, value in tensors.items()}
    replace_file(target, lambda file: write(file, arrays))


def load(path: FilePath) -> dict[str, Tensor]:
    """Read what `save`, `numpy.savez` or the safetensors library wrote.

    Args:
        path: a file whose name ends in ``.safetensors`` or ``.npz``.

    Returns:
        Constant Tensors by name, of the dtypes that were saved; bfloat16, which NumPy does not have, becomes float32
        (exactly).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another suffix, and for a file that is cut short, of another format, contradicts itself, or
            holds what is no array of real numbers (pickled objects are never read); naming the file.
        ImportError: for ``.safetensors`` without the library.
    """
    source = Path(path)
    read = _format_of(source, "load")[1]
    try:
        with open(source, "rb") as file:
            arrays = read(file, os.fstat(file.fileno()).st_size, source)
    except _Refused as error:
        raise ValueError(f"load: {source}: {error}") from None
    except OSError as error:
        raise _named(error, source) from None
    return {name: wrap(array) for name, array in arrays.items()}


class _Refused(ValueError):
    """What is wrong with a file; `load` adds its name."""


def _format_of(path: Path, where: str) -> tuple[Callable[..., None], Callable[..., dict[str, Array]]]:
    found = {".safetensors": (_write_safetensors, _read_safetensors), ".npz": (_write_npz, _read_npz)}
    try:
        return found[path.suffix.lower()]
    except KeyError:
        raise ValueError(
            f"{where}: the suffix says which format: name.safetensors or name.npz, not {os.fspath(path)!r}"
        ) from None


# Writing


def replace_file(path: FilePath, write: Callable[[IO[bytes]], Any]) -> None:
    """Have `write` fill a new file, and put it in the place of `path` when all of it is on the disk: whatever happens
    before, the previous file stays as it was. Symbolic links are followed; permissions are kept.

    Args:
        path: the file to be replaced or made.
        write: a function of a binary file, open for writing.

    Raises:
        OSError: naming `path`.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name[:40]}.{os.urandom(6).hex()}.tmp")
    try:
        before = _status_of(target)
        file = open(beside, "xb")  # the umask applies; never opens what somebody else put there
        try:
            with file:
                write(file)
                file.flush()
                if before is not None:
                    _keep_permissions(before, beside)
                os.fsync(file.fileno())
            os.replace(beside, target)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        _flush_directory(target.parent)
    except OSError as error:
        raise _named(error, Path(path)) from None


def _status_of(path: Path) -> os.stat_result | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")
    return status


def _keep_permissions(before: os.stat_result, path: Path) -> None:
    with suppress(OSError, AttributeError):  # only root may give a file away; Windows has no such thing
        os.chown(path, before.st_uid, before.st_gid)
    os.chmod(path, stat.S_IMODE(before.st_mode))


def _flush_directory(path: Path) -> None:
    with suppress(OSError):  # the file's new name; Windows cannot open directories
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _named(error: OSError, path: Path) -> OSError:
    """The error, with the name of the file that the user knows."""
    if error.errno is None:
        return OSError(f"{path}: {error}")
    return OSError(error.errno, error.strerror, os.fspath(path))  # Python picks FileNotFoundError etc. by the number


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"save: names are strings, not {name!r}")
    return name


def _checked_array(name: str, value: Any) -> Array:
    """The value as a contiguous array of the machine's byte order."""
    try:
        array = value.data if isinstance(value, Tensor) else np.asarray(value)
    except Exception as error:
        raise TypeError(f"save: {name!r} is no array ({error})") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"save: {name!r} has dtype {array.dtype}; integers, floats and booleans can be saved")
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def _write_safetensors(file: IO[bytes], arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        if name == "__metadata__":
            raise ValueError("save: safetensors keeps the name '__metadata__' for itself")
        if array.dtype.name not in _FROM_SAFETENSORS.values():
            raise TypeError(f"save: {name!r} has dtype {array.dtype}, which safetensors does not have; use .npz")
        _encodable(name)
    file.write(_safetensors().numpy.save(arrays))


def _write_npz(file: IO[bytes], arrays: dict[str, Array]) -> None:
    import zipfile

    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            _encodable(name)
            if "\0" in name or len(name.encode()) > 65000:
                raise ValueError(f"save: npz cannot hold the name {name[:80]!r}")
            member = zipfile.ZipInfo(f"{name}.npy")  # of a fixed date: equal tensors give equal files
            with archive.open(member, "w", force_zip64=True) as inside:
                np.lib.format.write_array(inside, array, allow_pickle=False)


def _encodable(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"save: the name {name!r} cannot be written as UTF-8") from None


def _safetensors() -> Any:
    try:
        import safetensors.numpy  # only here: importing autodiff does not need it
    except ImportError as error:
        raise ImportError(
            "files that end in .safetensors need the safetensors library: pip install safetensors "
            "(.npz files need nothing but NumPy)"
        ) from error
    return safetensors


# Reading safetensors: the library checks the whole header; where the numbers lie is then read from it by hand, because
# NumPy has no bfloat16 and the library no other way to it.

_FROM_SAFETENSORS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip

_LONGEST_HEADER = 100_000_000  # the library's own limit
_CHUNK = 1 << 18  # bytes read at a time: a zip archive copies what it unpacks


def _read_safetensors(file: IO[bytes], size: int, path: Path) -> dict[str, Array]:
    import json

    library = _safetensors()
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, _LONGEST_HEADER):
        raise _Refused(
            f"is no safetensors file, or cut short: it has {size} bytes and says that its header has {length}"
        )
    try:
        with library.safe_open(path, framework="numpy"):
            pass
        header = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
    except (library.SafetensorError, ValueError, RecursionError) as error:
        raise _Refused(f"is no valid safetensors file: {error}") from None
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if kind != "BF16" and kind not in _FROM_SAFETENSORS:
            raise _Refused(f"{name!r} has dtype {kind}, for which NumPy has none")
        stored = np.dtype("uint16" if kind == "BF16" else _FROM_SAFETENSORS[kind]).newbyteorder("<")
        if end - begin != math.prod(shape) * stored.itemsize or 8 + length + end > size:
            raise _Refused(f"{name!r} of shape {tuple(shape)} and dtype {kind} does not fit {end - begin} bytes")
        file.seek(8 + length + begin)
        array = _filled_from(file, tuple(shape), stored, name)
        if kind == "BF16":  # a float32 without its lower half
            array = np.left_shift(array, 16, dtype=np.uint32, out=np.empty(array.shape, np.uint32)).view(np.float32)
        arrays[name] = array
    return arrays


def _without_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Refused(f"the name {name!r} stands in it twice")
        found[name] = value
    return found


def _filled_from(file: Any, shape: tuple[int, ...], dtype: Any, name: str) -> Array:
    """An array of the machine's byte order, read from where the file stands."""
    try:
        array = np.empty(shape, dtype)
    except (ValueError, OverflowError) as error:
        raise _Refused(f"{name!r} has a shape that no array can have, {shape}: {error}") from None
    if array.size:
        view = memoryview(cast(Any, array.reshape(-1).view(np.uint8)))
        done = 0
        while done < len(view):
            n = file.readinto(view[done : done + _CHUNK])
            if not n:
                raise _Refused(f"is cut short within {name!r}")
            done += n
    if array.dtype.kind == "b":  # a byte of a file may hold more than 0 and 1
        array = array.view(np.uint8) != 0
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


# Reading npz: a zip archive with one npy file for each array

_LARGEST_EXPANSION = 200  # times the file's size; repeated bytes can be packed a thousandfold
_ALWAYS_ALLOWED = 1 << 26  # bytes that any file may expand to


def _read_npz(file: IO[bytes], size: int, path: Path) -> dict[str, Array]:
    import zipfile
    from zlib import error as zlib_error

    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_sizes(members, size)
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise _Refused(f"the name {name!r} stands in it twice")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
                    raise _Refused(f"{name!r} is encrypted, or packed in a way that NumPy does not use")
                with archive.open(member) as inside:
                    arrays[name] = _read_npy(inside, member.file_size, name)
    except _Refused:
        raise
    except (zipfile.BadZipFile, zlib_error, struct.error, EOFError, ValueError, RuntimeError, OverflowError) as error:
        raise _Refused(f"is no valid npz file, or cut short: {error}") from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # these come from offsets outside the file
            raise
        raise _Refused("is no valid npz file, or cut short") from None
    return arrays


def _check_sizes(members: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse archives that say they hold more than they can (members that overlap), or expand to a bomb."""
    if sum(member.compress_size for member in members) > size:
        raise _Refused(f"is no valid npz file: it has {size} bytes and says that its arrays take more")
    expanded = sum(member.file_size for member in members)
    if expanded > max(_LARGEST_EXPANSION * size, _ALWAYS_ALLOWED):
        raise _Refused(f"expands from {size} to {expanded} bytes, which is refused; write it with numpy.savez")


def _read_npy(file: IO[bytes], size: int, name: str) -> Array:
    npy = np.lib.format
    try:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise _Refused(f"{name!r} is an npy file of version {version}, which holds no plain numbers")
        shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    except _Refused:
        raise
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        raise _Refused(f"{name!r} is no npy file: {error}") from None
    if dtype.kind not in "fiub":
        what = "holds pickled Python objects, which are never read" if dtype.hasobject else f"has dtype {dtype}"
        raise _Refused(f"{name!r} {what}; integers, floats and booleans can be loaded")
    start = file.tell()
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != size - start:
        raise _Refused(f"{name!r} of shape {shape} and dtype {dtype} does not fit its {size - start} bytes")
    array = _filled_from(file, shape[::-1] if fortran else shape, dtype, name)
    if file.read(1):  # reading to the end has the checksum checked
        raise _Refused(f"{name!r} is longer than it says")
    return array.T if fortran else array
