"""Contract tests for splitters: subclass ``SplitterTestCase`` and run it with pytest."""

from splitters.testing.checkpoint import Interrupted, MemoryCheckpoint
from splitters.testing.contract import SplitterTestCase
from splitters.testing.equality import assert_equal_results
from splitters.testing.tiny_task import TinyNet, tiny_task

__all__ = ["Interrupted", "MemoryCheckpoint", "SplitterTestCase", "TinyNet", "assert_equal_results", "tiny_task"]
