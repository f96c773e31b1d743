"""Locks on open files that end with the process that holds them, however it ends."""

from __future__ import annotations

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def try_lock(descriptor: int) -> bool | None:
    """Take the lock of an open file without waiting. It is held until the file is closed, by all who inherited it.

    Args:
        descriptor: of the open file.

    Returns:
        True if this call has it; False if somebody else holds it; None where the system or the file system has no such
        locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
