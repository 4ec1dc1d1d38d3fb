"""CNNSplitter passes the contract tests in each of its forms."""

from typing import ClassVar

from splitters.testing import SplitterTestCase

SMALL = {
    "population": 6,
    "parents": 4,
    "elites": 2,
    "generations": 3,
    "genes": 4,
    "min_kept": 4,
    "max_kept": 20,
    "curve_shares": [0.25, 0.5, 0.75],
}


class TestCNNSplitter(SplitterTestCase):
    splitter = "cnnsplitter"
    settings: ClassVar = SMALL


class TestWithoutHeuristics(SplitterTestCase):
    splitter = "cnnsplitter"
    settings: ClassVar = {
        **SMALL,
        "generations": 2,
        "grouping": "none",
        "initialization": "random",
        "evaluation": "exhaustive",
        "score": "moments",
        "search_on": "both",
    }


class TestHeadsAndASearchOnSomeSelectImages(SplitterTestCase):
    splitter = "cnnsplitter"
    settings: ClassVar = {**SMALL, "score": "head", "head_steps": 20, "search_on": "select", "search_images": 20}


class TestRandomGenesAndASmallMemory(SplitterTestCase):
    splitter = "cnnsplitter"
    settings: ClassVar = {**SMALL, "grouping": "random", "memory_mb": 1, "cache_mb": 1, "batch_size": 7}
