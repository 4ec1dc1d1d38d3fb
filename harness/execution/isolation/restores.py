"""What sets a value back to what it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

Restore = Callable[[], object]
"""Sets something back to what it was when this was made."""

T = TypeVar("T")


def value_of(read: Callable[[], T], write: Callable[[T], object]) -> Restore:
    """Return what writes a value back, if another one is read then."""
    # torch refuses to read an older setting of precision while the newer ones, which are restored too, contradict it.
    try:
        before = read()
    except RuntimeError:
        return lambda: None

    def restore() -> None:
        with suppress(RuntimeError):
            if read() == before:
                return
        write(before)

    return restore


def attributes(owner: object, *names: str) -> Restore:
    """Return what sets an object's attributes back."""
    return all_of(*(value_of(partial(getattr, owner, name), partial(setattr, owner, name)) for name in names))


def entries_of(owner: object, name: str) -> Restore:
    """Return what sets an attribute that is a list back, with its entries."""
    kept, entries = getattr(owner, name), list(getattr(owner, name))

    def restore() -> None:
        setattr(owner, name, kept)
        kept[:] = entries

    return restore


def all_of(*restores: Restore) -> Restore:
    """Return what runs these one after the other, all of them even if some fail."""

    def restore() -> None:
        errors = []
        for each in restores:
            try:
                each()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    return restore
