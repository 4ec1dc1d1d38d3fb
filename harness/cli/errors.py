"""Errors as people should see them: one message on stderr, no traceback, and an exit code that scripts can read."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from harness.signals import sigterm_as_interrupt

EXIT_FAILED = 1
EXIT_WRONG = 2
EXIT_INTERRUPTED = 130

P = ParamSpec("P")
R = TypeVar("R")


def told_plainly(function: Callable[P, R]) -> Callable[P, R]:
    """Returns the function with the errors that are raised on purpose shown as messages.

    A wrong call, file or data set ends with ``EXIT_WRONG``; work that failed, and a disk that did, with
    ``EXIT_FAILED``. SIGTERM ends it in order, as Ctrl-C does. Anything else is a defect and keeps its traceback.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with sigterm_as_interrupt():
                return function(*args, **kwargs)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except BaseException as error:
            # Imported late: on the way to --help nothing that leads to torch is loaded.
            from splitters.errors import ConfigurationError, DataError, ModuleFileError, SplitbenchError

            if not isinstance(error, SplitbenchError | OSError) or isinstance(error, BrokenPipeError):
                raise
            click.echo(f"Error: {error}", err=True)
            wrong = isinstance(error, ConfigurationError | DataError | ModuleFileError)
            sys.exit(EXIT_WRONG if wrong else EXIT_FAILED)

    return call
