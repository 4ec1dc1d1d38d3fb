"""What Python and the operating system keep for a whole process."""

from __future__ import annotations

import gc
import locale
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from harness.execution.isolation.restores import Restore, all_of, attributes, entries_of, value_of


def _working_folder() -> Restore:
    folder = os.getcwd()
    return lambda: os.chdir(folder)


def _environment() -> Restore:
    before = dict(os.environ)

    def restore() -> None:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        if hasattr(time, "tzset"):
            time.tzset()

    return restore


def _import_path() -> Restore:
    return all_of(*(entries_of(sys, name) for name in ("path", "meta_path", "path_hooks", "argv")))


def _interpreter() -> Restore:
    return all_of(
        attributes(sys, "stdin", "stdout", "stderr", "dont_write_bytecode"),
        attributes(sys, "excepthook", "displayhook", "unraisablehook", "breakpointhook"),
        attributes(threading, "excepthook"),
        attributes(tempfile, "tempdir"),
        value_of(sys.gettrace, sys.settrace),
        value_of(sys.getprofile, sys.setprofile),
        value_of(sys.getrecursionlimit, sys.setrecursionlimit),
        value_of(sys.getswitchinterval, sys.setswitchinterval),
        value_of(gc.get_threshold, lambda before: gc.set_threshold(*before)),
        value_of(gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()),
        value_of(socket.getdefaulttimeout, socket.setdefaulttimeout),
        value_of(partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)),
        value_of(_file_mode_mask, os.umask),
    )


def _standard_descriptors() -> Restore:
    kept = {}
    for number in (1, 2):
        with suppress(OSError):  # It is closed.
            kept[number] = os.dup(number)

    def restore() -> None:
        for number, copy in kept.items():
            if not _is_same_file(number, copy):
                os.dup2(copy, number)
            os.close(copy)

    return restore


def _is_same_file(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _processors() -> Restore:
    if not hasattr(os, "sched_getaffinity"):
        return lambda: None
    return value_of(partial(os.sched_getaffinity, 0), partial(os.sched_setaffinity, 0))


def _resource_limits() -> Restore:
    try:
        import resource
    except ImportError:  # Windows
        return lambda: None
    kinds = {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
    return all_of(
        *(value_of(partial(resource.getrlimit, kind), partial(resource.setrlimit, kind)) for kind in sorted(kinds))
    )


def _file_mode_mask() -> int:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("Umask:")), 8)
    # Elsewhere it can be read only by setting it; meanwhile, other threads' files are for this user alone.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _signals() -> Restore:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    unused = [timer for timer in timers if not signal.getitimer(timer)[0]]

    def restore() -> None:
        for timer in unused:
            signal.setitimer(timer, 0)
        if threading.current_thread() is not threading.main_thread():
            return  # Python lets no other thread set handlers.
        for number, handler in handlers.items():
            # None stands for a handler that was not set by Python.
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)

    return restore


def _logging() -> Restore:
    manager = logging.root.manager
    known = [logging.root, *(logger for logger in manager.loggerDict.values() if isinstance(logger, logging.Logger))]
    facts = [(logger.level, logger.disabled, logger.propagate, logger.handlers, [*logger.handlers]) for logger in known]

    def restore_loggers() -> None:
        for logger, (level, disabled, propagate, kept, handlers) in zip(known, facts, strict=True):
            if logger.level != level:
                logger.setLevel(level)
            logger.disabled, logger.propagate, logger.handlers = disabled, propagate, kept
            kept[:] = handlers

    return all_of(
        restore_loggers,
        attributes(logging, "raiseExceptions"),
        value_of(lambda: manager.disable, logging.disable),
    )


def _warning_filters() -> Restore:
    manager = warnings.catch_warnings()
    manager.__enter__()
    return lambda: manager.__exit__(None, None, None)


INTERPRETER_STATES: tuple[Callable[[], Restore], ...] = (
    _working_folder,
    _environment,
    _import_path,
    _interpreter,
    _standard_descriptors,
    _processors,
    _resource_limits,
    _signals,
    _logging,
    _warning_filters,
)
"""Each notes a state, and returns what restores it."""
