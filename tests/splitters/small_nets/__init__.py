"""Minimal networks, each for one operation, one of its spellings, or one way to tie channels."""

from small_nets.constants import constants
from small_nets.frozen import frozen_cases
from small_nets.nets import Between, Case, Whole, conv
from small_nets.operations import activations, pools, reductions, transposed
from small_nets.shapes import literal_views, rearrangements, shapes
from small_nets.ties import group_norms, norms, parameter_free_shortcuts, ties

__all__ = ["BETWEEN", "Between", "Case", "Whole", "conv"]

BETWEEN = [
    *activations(), *pools(), *reductions(), *transposed(), *rearrangements(), *shapes(), *ties(), *norms(),
    *constants(), *group_norms(), *parameter_free_shortcuts(), *literal_views(), *frozen_cases(),
]  # fmt: skip
