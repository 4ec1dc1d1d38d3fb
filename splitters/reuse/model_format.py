"""The header of model files: a composed or patched model as JSON, its tensors apart."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from splitters.data import Normalisation
from splitters.files.network_description import NodeDescription
from splitters.files.safetensors_file import FileHeader
from splitters.modules.input_adapter import InputForm
from splitters.modules.module import ModuleDescription, NormalisationInfo
from splitters.settings import ClassName, Settings

FORMAT = "splitbench.model"
FORMAT_VERSION = 3
"""Readers take this version and older ones, and refuse newer ones. Version 3 has calibrated compositions."""

UNCALIBRATED_VERSION = 2
"""The version of models without a calibration, which readers of version 2 take as well."""


class PatchDescription(Settings):
    """What a patched model has beside its module: the fitted fusion rule and the weak model."""

    rule: str
    figures: dict[str, int]
    weak: list[NodeDescription]


class ModelDescription(Settings):
    """A composed or patched model as JSON."""

    kind: Literal["composed", "patched"]
    class_names: tuple[ClassName, ...] = Field(min_length=1)
    input_shape: tuple[int, int, int]
    normalisation: NormalisationInfo
    modules: list[ModuleDescription] = Field(min_length=1)
    patch: PatchDescription | None = None

    @property
    def input_form(self) -> InputForm:
        """What the model's images look like."""
        return InputForm(self.input_shape, Normalisation(self.normalisation.mean, self.normalisation.std))


class ModelHeader(FileHeader, ModelDescription):
    """The header of a model file."""
