"""Pausing the garbage collector."""

from __future__ import annotations

import gc

import pytest

from harness.garbage_collection import without_garbage_collection


@without_garbage_collection
def _collects(error: Exception | None = None) -> bool:
    if error is not None:
        raise error
    return gc.isenabled()


def test_the_collector_pauses_during_the_call_and_goes_on_after_it() -> None:
    assert not _collects()
    assert gc.isenabled()


def test_the_collector_goes_on_after_an_error() -> None:
    with pytest.raises(ValueError, match="wrong"):
        _collects(ValueError("wrong"))
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        assert not _collects()
        assert not gc.isenabled()
    finally:
        gc.enable()
