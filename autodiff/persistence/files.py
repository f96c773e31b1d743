"""Any file: opened only if it is one, replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from .locks import try_lock

FilePath = str | os.PathLike[str]


def open_file(path: FilePath) -> BufferedReader:
    """Open a regular file for reading; a pipe, a device or a socket is refused, and never waited for.

    Raises:
        OSError: naming `path`.
    """
    try:
        _require_regular(os.stat(path))  # first: opening a device may do something
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
        try:
            _require_regular(os.fstat(descriptor))
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise named(error, Path(path)) from None


def replace_file(path: FilePath, write: Callable[[IO[bytes]], Any]) -> None:
    """Have `write` fill a new file, and put it in the place of `path` when all of it is on the disk: whatever happens
    before, the previous file stays as it was. Symbolic links are followed; permissions are kept. The new file lies
    beside `path` until then; those that killed processes have left there are deleted.

    Args:
        path: the file to be replaced or made.
        write: a function of a binary file, open for writing.

    Raises:
        OSError: naming `path`.
    """
    target = Path(os.path.realpath(path))
    try:
        before = _status_of(target)
        _delete_abandoned(target)
        beside, file = _opened_beside(target)
        try:
            with file:
                write(file)
                file.flush()
                if before is not None:
                    _keep_permissions(before, beside)
                os.fsync(file.fileno())
                if os.name != "nt":  # while it is locked: nobody must take it for an abandoned one
                    os.replace(beside, target)
            if os.name == "nt":  # where open files cannot be renamed
                os.replace(beside, target)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        _flush_directory(target.parent)
    except OSError as error:
        raise named(error, Path(path)) from None


def named(error: OSError, path: Path) -> OSError:
    """The error, with the name of the file that the user knows."""
    if error.errno is None:
        return OSError(f"{path}: {error}")
    return OSError(error.errno, error.strerror, os.fspath(path))  # Python picks FileNotFoundError etc. by the number


def _require_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")


def _status_of(path: Path) -> os.stat_result | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    _require_regular(status)
    return status


# Files beside their targets


def _prefix(target: Path) -> str:
    """What the names of the files beside `target` begin with, and no others do."""
    checksum = zlib.crc32(target.name.encode(errors="surrogateescape"))
    return f".{target.name[:40]}.{checksum:08x}"


def _opened_beside(target: Path) -> tuple[Path, IO[bytes]]:
    """A new file beside `target`, open for writing, and locked where that is possible."""
    while True:
        beside = target.with_name(f"{_prefix(target)}{os.urandom(6).hex()}.tmp")
        file = open(beside, "xb")  # the umask applies; never opens what somebody else put there
        locked = try_lock(file.fileno())
        if locked is None or (locked and beside.exists()):
            return beside, file
        file.close()  # before it was locked, it was taken for an abandoned one


def _delete_abandoned(target: Path) -> None:
    """Delete files beside `target` whose writers are no more."""
    ours = re.compile(rf"{re.escape(_prefix(target))}[0-9a-f]{{12}}\.tmp")
    with suppress(OSError):
        for name in os.listdir(target.parent):
            if ours.fullmatch(name):
                with suppress(OSError):
                    _delete_if_abandoned(target.with_name(name))


def _delete_if_abandoned(path: Path) -> None:
    if os.name == "nt":
        path.unlink()  # fails while it is open
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and try_lock(descriptor):
            path.unlink()
    finally:
        os.close(descriptor)


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
