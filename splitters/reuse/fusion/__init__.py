"""Fusion rules: how a module's score corrects the answers of a weak model."""

from splitters.reuse.fusion.rule import FUSIONS, Fusion, FusionExamples, fit_fusion, rebuild_fusion

__all__ = ["FUSIONS", "Fusion", "FusionExamples", "fit_fusion", "rebuild_fusion"]
