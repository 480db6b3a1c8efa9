"""A lock, so that only one process writes into a folder. The system releases it when the process ends in any way."""

import contextlib
import errno
import os
import stat
import weakref
from pathlib import Path

from data_utils import printable
from scratch.options.errors import InputError
from scratch.runs.files import kind_of, named

NAME = ".lock"
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)  # from a file system without locks
MODE = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
BEYOND = 2**30  # on Windows a locked byte cannot be read: this one is beyond the content


class Lock:
    """The lock of a folder, held from its creation until `close`, the end of a `with` block or of the process.

        with Lock(folder):
            ...                 no other process writes into the folder

    Raises InputError if another process, or another Lock of this process, holds the folder. Reading needs no lock. The
    file .lock holds the number of the process and is removed with the lock. On a file system without locks, such as
    some network file systems, nothing is locked.
    """

    def __init__(self, folder):
        self.path = Path(folder) / NAME
        handle = self.acquire()
        self.close = weakref.finalize(self, release, handle, self.path, os.getpid())

    def acquire(self):
        while True:
            if self.path.is_symlink():  # opening it would make a file elsewhere
                raise InputError(f"{printable(self.path)} is a link: remove it.")
            with named(self.path):
                handle = os.open(self.path, MODE, 0o666)
            try:
                if not stat.S_ISREG(mode := os.fstat(handle).st_mode):
                    raise InputError(f"{printable(self.path)} is {kind_of(mode)}: remove it.")
                if not lock(handle):
                    raise InputError(f"{printable(self.path.parent)} is being written by {holder(handle)}: "
                                     f"wait until it has finished, or choose another folder.")
                if is_still(handle, self.path):
                    if (content := os.read(handle, 20)) and not content.isdigit():
                        raise InputError(f"{printable(self.path)} is a file of another program: choose another folder.")
                    with contextlib.suppress(OSError):
                        os.ftruncate(handle, 0)
                        os.lseek(handle, 0, os.SEEK_SET)
                        os.write(handle, str(os.getpid()).encode())
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # its last holder has removed the file in the meantime

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def lock(handle):
    """Lock an open file. Returns False if it is locked already."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(handle, BEYOND, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in WITHOUT_LOCKS
    return True


def is_still(handle, path):
    """Is the open file the one that has this name?"""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def holder(handle):
    """The holder of the lock, in words."""
    number = os.read(handle, 20).decode("ascii", "replace")
    if number == str(os.getpid()):
        return "this process already"
    return f"process {number}" if number.isdigit() else "another process"


def release(handle, path, process):
    """Remove the file and release the lock. A forked child only closes its copy: the lock is its parent's."""
    if os.name != "nt" and os.getpid() == process:
        import fcntl

        with contextlib.suppress(OSError):
            if is_still(handle, path):
                os.unlink(path)
            fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)
