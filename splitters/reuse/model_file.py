"""Composed and patched models as files: one safetensors file each, which needs nothing else to be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from splitters.data import Normalisation
from splitters.errors import ConfigurationError, ModuleFileError
from splitters.files.network_description import NodeDescription, build_network, describe_network
from splitters.files.safetensors_file import FileHeader, read_format, read_tensor_file, write_tensor_file
from splitters.modules.input_adapter import InputForm
from splitters.modules.module import FORMAT as MODULE_FORMAT
from splitters.modules.module import Module, ModuleDescription, NormalisationInfo
from splitters.reuse.composed import ComposedModel, ReusedModel
from splitters.reuse.fusion import rebuild_fusion
from splitters.reuse.patched import PatchedModel
from splitters.settings import Settings
from splitters.tensor_names import under

FORMAT = "splitbench.model"
FORMAT_VERSION = 2
"""Readers take this version and older ones, and refuse newer ones."""


class _Patch(Settings):
    rule: str
    figures: dict[str, int]
    weak: list[NodeDescription]


class _Header(FileHeader):
    kind: Literal["composed", "patched"]
    class_names: tuple[str, ...] = Field(min_length=1)
    input_shape: tuple[int, int, int]
    normalisation: NormalisationInfo
    modules: list[ModuleDescription] = Field(min_length=1)
    patch: _Patch | None = None


def save_model(model: ReusedModel, path: Path | str) -> None:
    """Writes a composed or patched model as one file, all or nothing.

    Raises:
        ModuleFileError: If a network uses an operation that files do not know; nothing is written.
    """
    modules = model.modules_in_order if isinstance(model, ComposedModel) else [_patched(model).module]
    described, tensors = [], {}
    for index, module in enumerate(modules):
        description, stored = module.describe()
        described.append(description)
        tensors.update({f"modules.{index}.{name}": tensor for name, tensor in stored.items()})
    patch = None
    if isinstance(model, PatchedModel):
        nodes, stored = describe_network(model.weak)
        patch = _Patch(rule=model.fusion.kind, figures=model.fusion.describe(), weak=nodes)
        tensors.update({f"weak.{name}": tensor for name, tensor in stored.items()})
        tensors.update({f"fusion.{name}": tensor for name, tensor in model.fusion.state_dict().items()})
    form = model.input_form
    header = _Header(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        kind="composed" if patch is None else "patched",
        class_names=model.class_names,
        input_shape=form.shape,
        normalisation=NormalisationInfo(mean=form.normalisation.mean, std=form.normalisation.std),
        modules=described,
        patch=patch,
    )
    write_tensor_file(path, header, tensors)


def load_model(path: Path | str) -> Module | ComposedModel | PatchedModel:
    """Reads a module, a composed model, or a patched one; this needs no other file and no model's code.

    Raises:
        ModuleFileError: If the file is absent, damaged, foreign, or of a newer format.
    """
    if read_format(path) == MODULE_FORMAT:
        return Module.load(path)
    header, tensors = read_tensor_file(path, _Header, form=FORMAT, newest=FORMAT_VERSION)
    modules = [
        Module.rebuild(description, under(tensors, f"modules.{index}."), where=str(path))
        for index, description in enumerate(header.modules)
    ]
    try:
        model = _composed(header, modules) if header.patch is None else _rebuilt(header, header.patch, modules, tensors)
        with torch.no_grad():
            scores = model(torch.zeros(1, *header.input_shape))
    except (ConfigurationError, ModuleFileError, TypeError, ValueError, RuntimeError, LookupError) as error:
        raise ModuleFileError(f"{path}: the model cannot be rebuilt: {error}") from error
    if scores.shape != (1, len(header.class_names)):
        raise ModuleFileError(f"{path}: the model does not return one score for each of its classes.")
    return model


def _patched(model: ReusedModel) -> PatchedModel:
    if not isinstance(model, PatchedModel):
        raise TypeError(f"composed and patched models can be saved, not a {type(model).__name__}")
    return model


def _composed(header: _Header, modules: list[Module]) -> ComposedModel:
    model = ComposedModel(modules, header.class_names)
    if model.input_form != _form(header):
        raise ModuleFileError("the modules take other images than the header says.")
    return model


def _rebuilt(header: _Header, patch: _Patch, modules: list[Module], tensors: Mapping[str, Tensor]) -> PatchedModel:
    if len(modules) != 1:
        raise ModuleFileError(f"a patched model has one module, not {len(modules)}.")
    fusion = rebuild_fusion(patch.rule, patch.figures, under(tensors, "fusion."))
    if header.class_names[fusion.target] != modules[0].info.class_name:
        raise ModuleFileError(f"its module recognises {modules[0].info.class_name!r}, which is not the patched class.")
    weak = build_network(patch.weak, under(tensors, "weak."))
    return PatchedModel(weak, modules[0], fusion, header.class_names, _form(header))


def _form(header: _Header) -> InputForm:
    return InputForm(header.input_shape, Normalisation(header.normalisation.mean, header.normalisation.std))
