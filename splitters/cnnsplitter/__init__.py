"""CNNSplitter: modularization by a genetic search over groups of kernels."""

from splitters.cnnsplitter.sensitivity import SensitivityCurves
from splitters.cnnsplitter.settings import CNNSplitterSettings
from splitters.cnnsplitter.splitter import CNNSplitter

__all__ = ["CNNSplitter", "CNNSplitterSettings", "SensitivityCurves"]
