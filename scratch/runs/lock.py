"""One writer a folder: a lock that the system releases when its process ends, however that comes."""

import contextlib
import errno
import os
import stat
import weakref
from pathlib import Path

from scratch.options.errors import InputError
from scratch.runs.files import kind_of, named
from scratch.runs.schema import shown

NAME = ".lock"
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)  # what such a file system answers
MODE = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
BEYOND = 2**30  # on Windows a locked byte cannot be read: this one is beyond the content


class Lock:
    """Held from its making until `close`, the end of a `with` block or the end of the process.

        with Lock(folder):
            ...                 nobody else writes into the folder

    Raises InputError where another process, or another lock of this one, holds the folder. Reading asks for no lock.
    The file .lock holds the number of the process; it goes when the lock is released. A file system without locks, as
    some over a network are, gives none.
    """

    def __init__(self, folder):
        self.path = Path(folder) / NAME
        handle = self.acquire()
        self.close = weakref.finalize(self, release, handle, self.path, os.getpid())

    def acquire(self):
        while True:
            if self.path.is_symlink():  # opening it would make a file elsewhere
                raise InputError(f"{shown(self.path)} is a link: remove it.")
            with named(self.path):
                handle = os.open(self.path, MODE, 0o666)
            try:
                if not stat.S_ISREG(mode := os.fstat(handle).st_mode):
                    raise InputError(f"{shown(self.path)} is {kind_of(mode)}: remove it.")
                if not lock(handle):
                    raise InputError(f"{shown(self.path.parent)} is being written by {holder(handle)}: "
                                     f"wait until it has finished, or choose another folder.")
                if is_still(handle, self.path):
                    if (content := os.read(handle, 20)) and not content.isdigit():
                        raise InputError(f"{shown(self.path)} is a file of another program: choose another folder.")
                    with contextlib.suppress(OSError):
                        os.ftruncate(handle, 0)
                        os.lseek(handle, 0, os.SEEK_SET)
                        os.write(handle, str(os.getpid()).encode())
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # whoever held it has removed the file in the meantime

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def lock(handle):
    """Lock an open file. False where another has it."""
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
    """Who holds the lock, in words."""
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
