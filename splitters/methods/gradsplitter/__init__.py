"""GradSplitter: modularization by gradient descent on kernel masks."""

from splitters.methods.gradsplitter.settings import GradSplitterSettings
from splitters.methods.gradsplitter.splitter import GradSplitter

__all__ = ["GradSplitter", "GradSplitterSettings"]
