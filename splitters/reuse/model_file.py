"""Loading modules, composed models and patched models from their files, which need nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from splitters.errors import ConfigurationError, ModuleFileError
from splitters.files.network_description import build_network
from splitters.files.safetensors_file import read_format, read_tensor_file
from splitters.modules.module import FORMAT as MODULE_FORMAT
from splitters.modules.module import Module
from splitters.reuse.composed import ComposedModel
from splitters.reuse.fusion import rebuild_fusion
from splitters.reuse.model_format import FORMAT, FORMAT_VERSION, ModelHeader, PatchDescription
from splitters.reuse.patched import PatchedModel
from splitters.reuse.score_calibration import ScoreCalibration
from splitters.tensor_names import strip_prefix


def load_model(path: Path | str) -> Module | ComposedModel | PatchedModel:
    """Load a module, a composed model or a patched model. This needs no other file, and no model's code.

    Raises:
        ModuleFileError: If the file is absent, damaged, foreign, or of a newer format.
    """
    if read_format(path) == MODULE_FORMAT:
        return Module.load(path)
    header, tensors = read_tensor_file(path, ModelHeader, form=FORMAT, newest=FORMAT_VERSION)
    modules = [
        Module.rebuild(description, strip_prefix(tensors, f"modules.{index}."), where=str(path))
        for index, description in enumerate(header.modules)
    ]
    try:
        if header.patch is None:
            model = _composed_model(header, modules, strip_prefix(tensors, "calibration."))
        else:
            model = _patched_model(header, header.patch, modules, tensors)
        with torch.no_grad():
            scores = model(torch.zeros(1, *header.input_shape))
    except (ConfigurationError, ModuleFileError, TypeError, ValueError, RuntimeError, LookupError) as error:
        raise ModuleFileError(f"{path}: the model cannot be rebuilt: {error}") from error
    if scores.shape != (1, len(header.class_names)):
        raise ModuleFileError(f"{path}: the model does not return one score for each of its classes.")
    return model


def _composed_model(
    header: ModelHeader, modules: Sequence[Module], calibration: Mapping[str, Tensor]
) -> ComposedModel | PatchedModel:
    fitted = ScoreCalibration(**calibration) if calibration else None
    model = ComposedModel(modules, header.class_names, calibration=fitted)
    if model.input_form != header.input_form:
        raise ModuleFileError("the modules take other images than the header says.")
    return model


def _patched_model(
    header: ModelHeader, patch: PatchDescription, modules: Sequence[Module], tensors: Mapping[str, Tensor]
) -> PatchedModel:
    if len(modules) != 1:
        raise ModuleFileError(f"a patched model has one module, not {len(modules)}.")
    fusion = rebuild_fusion(patch.rule, patch.figures, strip_prefix(tensors, "fusion."))
    if header.class_names[fusion.target] != modules[0].info.class_name:
        raise ModuleFileError(f"its module recognises {modules[0].info.class_name!r}, which is not the patched class.")
    weak = build_network(patch.weak, strip_prefix(tensors, "weak."))
    return PatchedModel(weak, modules[0], fusion, header.class_names, header.input_form)
