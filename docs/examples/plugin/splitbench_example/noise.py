"""A scenario: the base model and the composed model on test images with noise."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field

from benchmarks import SplitModel, SplitScenario, Workspace
from splitters import Settings, accuracy


class NoiseSettings(Settings):
    """Settings of ``noise``.

    Args:
        level: Standard deviation of the noise, in grey levels of 0 to 255.
    """

    level: float = Field(default=32.0, ge=0)


class Noise(SplitScenario):
    """Compares the base model and the composed model on test images with Gaussian noise."""

    Settings = NoiseSettings
    settings: NoiseSettings

    def evaluate(self, model: SplitModel, workspace: Workspace) -> dict[str, float]:
        """Measure accuracies; see ``SplitScenario.evaluate``."""
        test = model.prepared.roles.test
        noise = torch.randn(test.images.shape, generator=torch.Generator().manual_seed(0)) * self.settings.level
        noisy = replace(test, images=(test.images + noise).round().clamp(0, 255).to(torch.uint8))
        base = accuracy(model.logits(noisy).argmax(1), test.labels)
        composed = accuracy(model.answers(noisy), test.labels)
        return {"base_accuracy": base, "composed_accuracy": composed, "accuracy_loss": base - composed}
