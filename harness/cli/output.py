"""Where output goes: results to stdout, everything else to stderr. Nothing that is shown is read as markup."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from harness.text import indented_json, printable

_PLAIN_WIDTH = 100
"""Width of tables that go to a file or a pipe, unless COLUMNS says otherwise."""

_STDOUT, _STDERR = 1, 2

_reserved: ContextVar[TextIO | None] = ContextVar("reserved stdout", default=None)


class PlainConsole(Console):
    """A console that shows every text as it is: no markup, no emoji codes, no control sequences."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if self.width < 1:  # COLUMNS=0, of a terminal that does not know its size
            self.width = _PLAIN_WIDTH

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield a renderable's segments, with control characters in their text escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text, keep="\n"), segment.style)

    def on_broken_pipe(self) -> None:
        """Go on in silence if the reader of progress has gone; without a reader of results, the command ends."""
        if not self.stderr:
            super().on_broken_pipe()
        self.quiet = True


def show(view: RenderableType) -> None:
    """Show a table or text on stdout: with colours on a terminal, without elsewhere."""
    console = PlainConsole(file=_reserved.get())
    if not console.is_terminal:
        console = PlainConsole(file=_reserved.get(), width=_plain_width(), color_system=None)
    # Sentences are left to the terminal to wrap, so that paths in them stay whole.
    console.print(view, soft_wrap=isinstance(view, str))


def _plain_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else _PLAIN_WIDTH


def write(text: str) -> None:
    """Write a text and a line break to stdout, as it is."""
    click.echo(text, file=_reserved.get())


def write_bytes(data: bytes) -> None:
    """Write bytes to stdout, as they are."""
    stream = _reserved.get() or sys.stdout
    stream.flush()
    click.echo(data, file=stream.buffer, nl=False)


def write_line(text: str) -> None:
    """Write a message for people to stdout, with what came from elsewhere made safe to show."""
    write(printable(text, keep="\n"))


def show_json(value: Any) -> None:
    """Write a value to stdout as JSON; in ASCII where stdout takes nothing else."""
    encoding = (_reserved.get() or sys.stdout).encoding or "utf-8"
    write(indented_json(value, ensure_ascii=not encoding.lower().startswith("utf")))


def progress_console() -> Console:
    """Return the console for progress and messages, on stderr."""
    return PlainConsole(stderr=True)


_IN_ASCII = {
    "↑": "^", "↓": "v", "±": "+-", "×": "x", "–": "-", "—": "-", "…": "...", "·": "-", "✓": "+", "✗": "x", "’": "'",
}  # fmt: skip
"""What stands for a character that the output's encoding lacks."""


def _replacement(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_ASCII.get(character, "?") for character in error.object[error.start : error.end]), error.end


codecs.register_error("splitbench", _replacement)


def replace_unencodable() -> None:
    """Make stdout and stderr replace characters that their encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        # A stream that a test or caller substituted may lack this method.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="splitbench")


@contextmanager
def reserved_stdout(*, for_good: bool = False) -> Iterator[None]:
    """Keep stdout for ``show``, ``write`` and ``show_json``; whatever else is printed goes to stderr.

    This holds for plug-ins and splitters that print, for compiled code, and for processes started in the meantime.

    Args:
        for_good: Whether this holds until the process ends, for threads that go on and for what is printed at exit.
    """
    stdout = sys.stdout
    if _descriptor(stdout) != _STDOUT or _descriptor(sys.stderr) != _STDERR:
        # A test or caller substituted Python streams without file descriptors.
        token = _reserved.set(stdout)
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            sys.stdout = stdout
            _reserved.reset(token)
        return
    stdout.flush()
    with os.fdopen(os.dup(_STDOUT), "w", encoding=stdout.encoding, errors=stdout.errors) as ours:
        token = _reserved.set(ours)
        os.dup2(_STDERR, _STDOUT)
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            ours.flush()
            sys.stderr.flush()
            if not for_good:
                os.dup2(ours.fileno(), _STDOUT)
                sys.stdout = stdout
            _reserved.reset(token)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError):
        return None
