"""Locks on open files that end with the process that holds them, however it ends."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 62  # a place beyond all content: there a locked byte cannot be read by others

    def try_lock(descriptor: int) -> bool | None:
        """See below."""
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, place, os.SEEK_SET)
        return True
else:
    import fcntl

    def try_lock(descriptor: int) -> bool | None:
        """Take the lock of an open file without waiting. It is held until the file is closed, by all who inherited it.

        Args:
            descriptor: of the open file.

        Returns:
            True if this call has it; False if somebody else holds it; None where the file system has no locks.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True
