"""GradSplitter: gradient descent on kernel masks (arXiv 2311.04438)."""

from splitters.methods.gradsplitter.settings import GradSplitterSettings
from splitters.methods.gradsplitter.splitter import GradSplitter

__all__ = ["GradSplitter", "GradSplitterSettings"]
