"""GradSplitter: modularization by gradient descent on kernel masks."""

from splitters.gradsplitter.settings import GradSplitterSettings
from splitters.gradsplitter.splitter import GradSplitter

__all__ = ["GradSplitter", "GradSplitterSettings"]
