"""Writing a file all or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a temporary file beside ``path``, sync it to disk and rename it into place.

    What is no file, such as ``/dev/stdout``, is written to; a link stays one.

    Args:
        path: The file, which is replaced if it exists; missing folders are created.
        data: Its content.

    Raises:
        OSError: If the file cannot be written; an existing file is left as it was.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder; name a file in it", str(path))
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Short, since the file may have the longest name allowed.
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # not the temporary file's name
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
