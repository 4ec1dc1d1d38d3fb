"""Fusion rules: how a module's score corrects the answers of a weak model."""

from splitters.reuse.fusion.cross_fit import cross_fitted_answers
from splitters.reuse.fusion.rule import FUSIONS, Fusion, FusionExamples, fit_fusion, rebuild_fusion

__all__ = ["FUSIONS", "Fusion", "FusionExamples", "cross_fitted_answers", "fit_fusion", "rebuild_fusion"]
