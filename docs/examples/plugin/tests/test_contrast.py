"""The splitter keeps the contract."""

from typing import ClassVar

from splitters.testing import SplitterTestCase


class TestContrast(SplitterTestCase):
    """Runs the contract's tests on ``contrast``."""

    splitter = "contrast"
    settings: ClassVar = {"retention": 0.4}
