"""User-facing errors: one message on stderr, no traceback, and an exit code for scripts."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

import click
from click.core import ParameterSource

from harness.signals import ending_as_interrupt
from harness.text import printable

EXIT_FAILED = 1
EXIT_WRONG = 2
EXIT_INTERRUPTED = 130
LINE_BREAK = "\n"

STANDALONE = "standalone"
"""Marks a call of the command after which the process ends."""

P = ParamSpec("P")
R = TypeVar("R")


def report_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that expected errors are shown as messages.

    A wrong call, file or data set exits with ``EXIT_WRONG``, failed work or a failed disk with ``EXIT_FAILED``. SIGTERM
    and the end of the terminal stop the command cleanly, like Ctrl-C. Anything else is a bug and keeps its traceback.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            _refuse_two_formats(kwargs)
            with ending_as_interrupt(), _output(kwargs):
                return function(*args, **kwargs)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except BaseException as error:
            # Imported late, so that --help does not load torch.
            from splitters.errors import ConfigurationError, DataError, ModuleFileError, SplitbenchError

            if not isinstance(error, SplitbenchError | OSError) or isinstance(error, BrokenPipeError):
                raise
            click.echo(f"Error: {printable(error, keep=LINE_BREAK)}", err=True)
            wrong = isinstance(error, ConfigurationError | DataError | ModuleFileError)
            sys.exit(EXIT_WRONG if wrong else EXIT_FAILED)

    return call


def _refuse_two_formats(options: Mapping[str, object]) -> None:
    context, form = click.get_current_context(silent=True), options.get("form")
    if context is None or not options.get("as_json") or form == "json":
        return
    if context.get_parameter_source("form") is ParameterSource.COMMANDLINE:
        raise click.UsageError(f"--json and --format {form} name two formats; give one of them.")


def _output(options: Mapping[str, object]) -> AbstractContextManager[None]:
    """Return what keeps stdout clean for a command whose output other programs read."""
    from harness.cli.output import replace_unencodable, reserved_stdout

    replace_unencodable()
    for_programs = options.get("as_json") or options.get("form", "rich") != "rich"
    return reserved_stdout(for_good=ends_process()) if for_programs else nullcontext()


def ends_process() -> bool:
    """Return whether the process ends with the command, as it does unless a program calls it for its result."""
    context = click.get_current_context(silent=True)
    return context is not None and context.find_root().obj == STANDALONE
