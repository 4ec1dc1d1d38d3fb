"""Tracing a model by ``torch.fx``, with control flow over sizes decided by the numbers that an example gives."""

from splitters.canonical.tracing.example_run import attribute_at
from splitters.canonical.tracing.tracer import trace_model

__all__ = ["attribute_at", "trace_model"]
