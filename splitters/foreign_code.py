"""Code that is not this package's own: whatever it raises becomes one message with its place."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splitters.errors import ConfigurationError, SplitbenchError

_HERE = Path(__file__).resolve().parents[1]
_OWN = tuple(f"{_HERE / name}/" for name in ("splitters", "benchmarks", "harness"))
_PYTHON = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))


@contextmanager
def importing(what: str, *, remedy: str = "") -> Iterator[None]:
    """Import foreign code in the block.

    Args:
        what: The code, for messages: ``the plugin 'mine'``.
        remedy: A sentence for the case that there is no such code, as opposed to code that fails.

    Raises:
        ConfigurationError: If the block raises anything, ``SystemExit`` included.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    # Foreign code may raise anything, and its author wants to know where.
    except BaseException as error:
        cause = _cause(error) or f"{message_of(error)}. {remedy}".strip()
        raise ConfigurationError(f"{what} cannot be imported: {cause}") from error


@contextmanager
def constructing(what: str) -> Iterator[None]:
    """Construct an object of foreign code in the block.

    Raises:
        ConfigurationError: If the block raises anything but the errors of this package.
    """
    try:
        yield
    except (SplitbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise ConfigurationError(f"{what} cannot be constructed: {_cause(error) or _text(error)}") from error


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Call code in the block that may be foreign, before anything is run.

    Raises:
        ConfigurationError: If foreign code raises anything but the errors of this package.
    """
    try:
        yield
    except (SplitbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if not (cause := _cause(error)):
            raise
        raise ConfigurationError(f"{what} fails: {cause}") from error


def message_of(error: BaseException) -> str:
    """Return an error's message, or its type where the message cannot be had."""
    try:
        return str(error)
    except Exception:  # Foreign errors may fail to describe themselves.
        return f"{type(error).__name__} (its message cannot be shown)"


def _cause(error: BaseException) -> str:
    """Return what happened after the file and line of foreign code where it did; empty if it did elsewhere."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {_text(error)}"
    foreign = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_foreign(frame.filename)]
    own = [frame for frame in foreign if not _is_installed(frame.filename)]
    frames = own or foreign
    return f"{frames[-1].filename}, line {frames[-1].lineno}: {_text(error)}" if frames else ""


def _text(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else message_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_foreign(file: str) -> bool:
    return not file.startswith((*_OWN, "<")) and (_is_installed(file) or not file.startswith(_PYTHON))


def _is_installed(file: str) -> bool:
    return "site-packages" in file or "dist-packages" in file
