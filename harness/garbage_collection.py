"""Python's garbage collector, which pauses while many objects are built."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def without_garbage_collection(function: Callable[P, R]) -> Callable[P, R]:
    """Pause the garbage collector while a function runs.

    For functions that build objects by the hundred thousand and keep them all: the collector would scan them again and
    again, for more than a quarter of the time, and find nothing to free.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if not gc.isenabled():
            return function(*args, **kwargs)
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            gc.enable()

    return wrapper
