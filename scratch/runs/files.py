"""Files that are read with care and written whole: JSON, lines of JSON, safetensors.

Only regular files are read, with at most 16 MiB of JSON or 1 GiB of lines. A safetensors file has to be as long as its
header says. Named pipes and devices are refused before a byte is read. A file is written under a temporary name in the
same folder and renamed when it is complete, so a kill at any moment leaves the last good file.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from data_utils import printable
from scratch.options.errors import InputError
from scratch.runs.schema import Form, Mismatch

JSON_BYTES = 2**24
LINES_BYTES = 2**30
DEPTH = 20  # levels of JSON, one inside the other
TEMPORARY = re.compile(r"\..+\.(?P<process>\d+)-[0-9a-f]{8}\.tmp")  # .NAME.PROCESS-RANDOM.tmp
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
          "U8": "uint8", "BOOL": "bool", "C64": "complex64"}  # safetensors' other names are printable unchanged
READ = ("float32", "float64", "int64")  # the dtypes that train writes

being_written = set()  # the temporary files of this process


# --- names and folders ------------------------------------------------------------------------------------------------


def present(path):
    """Does anything with this name exist? Raises InputError if the system refuses to say."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    return True


def names_in(folder):
    """The names in a folder, sorted. Raises InputError if it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise unreadable(folder, error) from None


def make_folder(folder):
    """Make a folder and those above it. Raises InputError if that is not possible."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"the folder {printable(folder)} cannot be made ({reason(error)}): choose another.") from None


def unreadable(path, error):
    """The InputError for a file or a folder that cannot be read."""
    return InputError(f"{printable(path)} cannot be read ({reason(error)}): restore it, or name another.")


def reason(error):
    """The system's words for an error, without a path."""
    return getattr(error, "strerror", None) or str(error)


def kind_of(mode):
    """What a file is, in words, if it is not a regular file."""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


# --- reading ----------------------------------------------------------------------------------------------------------


@contextmanager
def opened(path, limit=None):
    """A regular file of at most `limit` bytes, opened for reading. Raises InputError for anything else, at once."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise InputError(f"{printable(path)} does not exist: restore it, or name another.") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise InputError(f"{printable(path)} is {kind_of(status.st_mode)}, where a file is expected: "
                         f"restore it, or name another.")
    with os.fdopen(handle, "rb") as file:
        if limit is not None and status.st_size > limit:
            raise InputError(f"{printable(path)} has {status.st_size:,} bytes, and such a file has at most {limit:,}: "
                             f"restore it, or name another.")
        yield file


def read_bytes(path, limit):
    """The content of a regular file of at most `limit` bytes."""
    with opened(path, limit) as file:
        try:
            return file.read(limit)
        except OSError as error:
            raise unreadable(path, error) from None


def parsed(content):
    """The value that JSON text (bytes in UTF-8, or a string) stands for. Raises ValueError."""
    try:
        value = json.loads(content.decode() if isinstance(content, bytes) else content)
    except RecursionError:
        raise ValueError(f"it has more than {DEPTH} levels") from None
    level = [value]
    for _ in range(DEPTH):
        level = [entry for part in level if isinstance(part, list | dict)
                 for entry in (part.values() if isinstance(part, dict) else part)]
        if not level:
            return value
    raise ValueError(f"it has more than {DEPTH} levels")


@dataclass(frozen=True)
class Document:
    """The description of a JSON file: its kind, and the advice for a file that does not match."""

    kind: object
    advice: str

    def checked(self, content, place):
        """The value of JSON text that stands at `place`, such as a path. Raises InputError."""
        try:
            value = parsed(content)
        except ValueError as error:
            raise InputError(f"{printable(place)} is not JSON ({printable(error)}): {self.advice}.") from None
        self.check(value, place)
        return value

    def check(self, value, place):
        try:
            self.kind.check(value)
        except Mismatch as mismatch:
            raise InputError(f"{printable(place)}: {mismatch}: {self.advice}.") from None

    def read(self, path):
        """The value in a file. Raises InputError if it is not of this kind."""
        return self.checked(read_bytes(path, JSON_BYTES), path)

    def write(self, path, value, indent=2):
        """Write a value of this kind, complete or not at all."""
        self.check(value, path)
        write_atomically(path, (json.dumps(value, indent=indent) + "\n").encode())

    def read_lines(self, path):
        """The values of a file that has one in each line. An incomplete last line, cut off by a kill, is left out."""
        *lines, last = read_bytes(path, LINES_BYTES).split(b"\n")
        values = [self.checked(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
        if last:
            with contextlib.suppress(InputError):
                values.append(self.checked(last, path))
        return values

    def write_lines(self, path, values):
        """Write one value in each line, complete or not at all."""
        write_atomically(path, b"".join(self.line(value, path) for value in values))

    def append_line(self, path, value):
        """Add a line to a file, whole or not at all."""
        append(path, self.line(value, path))

    def line(self, value, path):
        self.check(value, path)
        return (json.dumps(value) + "\n").encode()


def read_tensors(path, kind=None):
    """{name: NumPy array} of a safetensors file.

    `kind` is a Record of Arrays. Raises InputError if the file is damaged or holds a dtype that train does not write,
    and Mismatch if it is not of this kind. Names, dtypes and shapes are checked in the header, before a tensor is read.
    """
    with tensor_file(path) as file:
        forms = {}
        for name in file.keys():
            part = file.get_slice(name)
            forms[name] = Form(DTYPES.get(part.get_dtype(), part.get_dtype()), tuple(part.get_shape()))
        if kind is not None:
            kind.check(forms)
        for name, form in forms.items():
            if form.dtype not in READ:
                raise InputError(f"{printable(path)}: {printable(name)} is {form.dtype}; expected {' or '.join(READ)}: "
                                 f"restore it, or train again.")
        tensors = {name: file.get_tensor(name) for name in forms}
    if kind is not None:
        kind.check(tensors)
    return tensors


def read_header(path):
    """{key: text} of a safetensors file's metadata."""
    with tensor_file(path) as file:
        return file.metadata() or {}


@contextmanager
def tensor_file(path):
    """A safetensors file, opened. Raises InputError if it is not one."""
    with opened(path):  # raises unless it is a regular file
        try:
            with safe_open(path, framework="numpy") as file:
                yield file
        except SafetensorError as error:
            raise InputError(f"{printable(path)} is damaged or not a safetensors file ({printable(error)}): "
                             f"restore it, or train again.") from None


# --- writing ----------------------------------------------------------------------------------------------------------


def write_atomically(path, content):
    """Write bytes to a temporary file in the same folder, and rename it to `path` when it is complete on the disk.

    Raises InputError if nothing can be written there. If the disk fails, the OSError names `path`, the file is
    unchanged and no temporary file is left.
    """
    path = Path(path)
    check_writable(path)
    temporary = path.parent / f".{path.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    being_written.add(temporary.name)
    try:
        with named(path), open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with named(path):
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        being_written.discard(temporary.name)


def append(path, content):
    """Add bytes to the end of a file, all or none. A file that does not exist is created."""
    check_writable(Path(path))
    with named(path):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            size = os.fstat(handle).st_size
            try:
                with open(handle, "wb", buffering=0, closefd=False) as file:
                    if file.write(content) < len(content):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)


def check_writable(path):
    """Raise InputError if `path` cannot be a file: its folder does not exist, or it is something else itself."""
    where, folder = f"{printable(path)} cannot be written", path.parent
    try:
        mode = os.stat(folder).st_mode
        if not stat.S_ISDIR(mode):
            raise InputError(f"{where}: {printable(folder)} is not a folder: choose another.")
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(mode := os.stat(path).st_mode):
                raise InputError(f"{where}: it is {kind_of(mode)}: choose another name.")
    except FileNotFoundError:
        raise InputError(f"{where}: the folder {printable(folder)} does not exist: make it, or choose another."
                         ) from None
    except NotADirectoryError:
        raise InputError(f"{where}: {printable(folder)} is not a folder: choose another.") from None
    except OSError as error:
        raise InputError(f"{where} ({reason(error)}): choose another folder.") from None
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{where} ({error}): choose another name.") from None


@contextmanager
def named(path):
    """Within a `with` block, an OSError names `path`, and one about missing permission becomes an InputError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(f"{printable(path)} cannot be written ({reason(error)}): choose another folder.") from None
        error.filename, error.filename2 = str(path), None
        raise


def remove_leftovers(folder):
    """Remove the temporary files of processes that no longer exist, left by writes that a kill cut short."""
    for name in names_in(folder):
        if (parts := TEMPORARY.fullmatch(name)) and name not in being_written and gone(int(parts["process"])):
            with contextlib.suppress(OSError):
                os.unlink(Path(folder) / name)


def gone(process):
    """Has the process with this number ended? False if the system does not say."""
    if process == os.getpid():
        return True  # an earlier one: what this process writes is in `being_written`
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False
