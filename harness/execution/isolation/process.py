"""Restore the state of the process after each cell, so that cells that share a process do not share its state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness.execution.isolation.interpreter import INTERPRETER_STATES
from harness.execution.isolation.libraries import LIBRARY_STATES
from harness.execution.isolation.replaced_functions import replaced_functions
from harness.execution.isolation.restores import Restore
from splitters.errors import SplitbenchError
from splitters.foreign_code import message_of


class NotRestoredError(SplitbenchError):
    """The process is not as it was before an attempt, and should run no other one."""


@contextmanager
def restored_process() -> Iterator[None]:
    """Restore, after the block, the process-wide state that code under measurement may change.

    That is: torch's default dtype and device, its modes (autograd, autocast, determinism), hooks on all modules,
    backends' settings, and number of threads; the random generators of Python, NumPy and torch; what NumPy and decimal
    do about rounding and errors, and how numbers are printed; what Pillow does about damaged and large files; working
    folder, environment, time zone, import path, locale, file mode mask, standard streams, signal handlers and timers,
    logging, filters of warnings, processors, and limits and hooks of the interpreter and of the process; functions that
    were replaced.

    Raises:
        NotRestoredError: If something could not be restored.
    """
    failures: list[str] = []
    with ExitStack() as stack:
        # The last is restored first: the others call what may have been replaced.
        for take in (*LIBRARY_STATES, *INTERPRETER_STATES, replaced_functions):
            stack.callback(_restore, take.__name__.strip("_").replace("_", " "), take(), failures)
        yield
    if failures:
        raise NotRestoredError(f"the cell left its process in a state that cannot be undone: {'; '.join(failures)}")


def _restore(name: str, restore: Restore, failures: list[str]) -> None:
    try:
        restore()
    except Exception as error:  # The rest is restored all the same; the caller gets all failures.
        failures.append(f"{name}: {message_of(error) or type(error).__name__}")
