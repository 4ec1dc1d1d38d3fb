"""ScaleSplitter: GradSplitter's masks with a learned scale per kept kernel, and linear read-outs as scores."""

from splitters.methods.scalesplitter.settings import ScaleSplitterSettings
from splitters.methods.scalesplitter.splitter import ScaleSplitter

__all__ = ["ScaleSplitter", "ScaleSplitterSettings"]
