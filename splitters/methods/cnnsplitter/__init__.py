"""CNNSplitter: a genetic search over groups of kernels (arXiv 2209.06116)."""

from splitters.methods.cnnsplitter.sensitivity_curves import SensitivityCurves
from splitters.methods.cnnsplitter.settings import CNNSplitterSettings
from splitters.methods.cnnsplitter.splitter import CNNSplitter

__all__ = ["CNNSplitter", "CNNSplitterSettings", "SensitivityCurves"]
