"""A lock file: what it stands for belongs to one process, until that lets go of it or ends, however it ends.

Where the file system has locks, they decide, and what stands in the file is only for the message; elsewhere it is the
number of the process that stands there.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autodiff.persistence.locks import try_lock

_OWNER = re.compile(r"process (\d{1,10}) on (.*)\n")  # what our files hold, or nothing; others are left alone
_TRIES = 100


class Taken(Exception):
    """Another process has the lock, or another part of this one; the message says which."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of this file inside the ``with`` block. The file is made, and deleted in the end.

    Raises:
        Taken: if somebody else holds it.
        OSError: if the file cannot be made.
    """
    descriptor, ours = _take(path)
    process = os.getpid()
    _descriptors.add(descriptor)
    try:
        yield
    finally:
        if os.getpid() == process:  # not in a fork that ends here too
            _descriptors.discard(descriptor)
            if os.name == "nt":  # where open files cannot be deleted
                os.close(descriptor)
            if ours:
                with suppress(OSError):
                    path.unlink()
            if os.name != "nt":
                os.close(descriptor)


def _take(path: Path) -> tuple[int, bool]:
    """The locked file, open, and whether it is ours to delete."""
    for _ in range(_TRIES):
        new = True
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            new = False
            try:
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue  # deleted since
        try:
            content = os.read(descriptor, 1000).decode(errors="replace")
            owner, locked = _OWNER.fullmatch(content), try_lock(descriptor)
            if locked is False or (locked is None and not new and _is_alive(owner)):
                raise Taken(content.strip() if owner else "another process")
            if _is_at(path, descriptor):
                ours = not content or owner is not None
                if ours:
                    os.ftruncate(descriptor, 0)
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return descriptor, ours
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise Taken("one process after another")


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file still is the one at this path: an owner deletes it before letting go."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_alive(owner: re.Match[str] | None) -> bool:
    if owner is None or owner[2] != socket.gethostname():
        return True  # nobody can say
    try:
        os.kill(int(owner[1]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


# A fork inherits open files, and with them their locks, which must not outlive the process that took them

_descriptors: set[int] = set()


def _let_go() -> None:
    while _descriptors:
        os.close(_descriptors.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
