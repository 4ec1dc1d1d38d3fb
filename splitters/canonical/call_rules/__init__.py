"""Rewriting calls of functions and methods that are not plain operations."""

from splitters.canonical.call_rules.arithmetic import ArithmeticRules
from splitters.canonical.call_rules.creation import CreationRules
from splitters.canonical.call_rules.layers import LayerRules
from splitters.canonical.call_rules.reductions import ReductionRules
from splitters.canonical.call_rules.shapes import ShapeRules


class CallRules(ShapeRules, LayerRules, ArithmeticRules, ReductionRules, CreationRules):
    """One rule per call, named after it; a rule returns None if it cannot rewrite the call.

    A rule may return a tuple of nodes, of which later calls take one by its index or its name.
    """


__all__ = ["CallRules"]
