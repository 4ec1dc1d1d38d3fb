"""Export of modules, composed and patched models to ONNX and to torch.export, checked against the model itself."""

from __future__ import annotations

import copy
import importlib.util
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from benchmarks.cells import DatasetSpec
from benchmarks.pipeline.composed_cost import latencies
from benchmarks.pipeline.preparation import images_for
from benchmarks.pipeline.workspace import Workspace
from splitters.errors import ConfigurationError, SplitbenchError
from splitters.files.atomic_write import write_atomically
from splitters.modules.input_adapter import InputForm
from splitters.modules.module import Module
from splitters.reuse.patched import PatchedModel
from splitters.reuse.reused_model import ReusedModel

Exportable: TypeAlias = Module | ReusedModel
ExportFormat: TypeAlias = Literal["onnx", "torch-export"]
Runner: TypeAlias = Callable[[Tensor], Tensor]

TOLERANCE = 1e-4
"""The largest allowed difference of a score."""

_RELATIVE_TOLERANCE = 1e-6
"""The same, relative to the largest score: in float32, scores beyond 100 are no more exact than that."""

METADATA_FILE = "metadata.json"
"""The name of the extra file of a torch.export archive that holds the metadata."""

_PARITY_IMAGES = 256
_BATCH = 100
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class ExportError(SplitbenchError):
    """A model cannot be exported, or its export gives other scores."""


@dataclass(frozen=True)
class Export:
    """A written export.

    Args:
        difference: The largest difference of a score between model and export.
        tolerance: The largest difference that was allowed.
        images: The number of images on which scores were compared.
        model_seconds: The model's median time for one image.
        export_seconds: The export's.
    """

    difference: float
    tolerance: float
    images: int
    model_seconds: float
    export_seconds: float


class UnitInputModel(nn.Module):
    """A model that takes floats in [0, 1] instead of normalised images.

    Args:
        model: The model.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Exportable) -> None:
        super().__init__()
        self.model = _contiguous(model)
        normalisation = model.input_form.normalisation
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, -1, 1, 1))

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Tensor:
        """Return the model's scores."""
        scores: Tensor = self.model((images - self.mean) / self.std)
        return scores


def parity_images(
    form: InputForm, dataset: str | None, workspace: Workspace
) -> UInt8[Tensor, "image channel height width"]:
    """Return images on which an export is compared with its model.

    Args:
        form: The model's input.
        dataset: The data set whose test images are taken, at most 256 of them; None takes random pixels.
        workspace: Where to look for the data set.

    Raises:
        DataError: If the data set is absent, damaged or does not fit.
    """
    generator = torch.Generator().manual_seed(0)
    if dataset is None:
        return torch.randint(256, (_PARITY_IMAGES, *form.shape), dtype=torch.uint8, generator=generator)
    test = images_for(DatasetSpec(name=dataset, input_shape=form.shape), 0, workspace).roles.test
    return test.images[torch.randperm(len(test), generator=generator)[:_PARITY_IMAGES]]


def export_model(
    model: Exportable, target: ExportFormat, path: Path, images: UInt8[Tensor, "image channel height width"]
) -> Export:
    """Export a model as one file, which is written only if it gives the model's scores.

    The export takes a batch of float images in [0, 1], of any number, and returns their scores; normalisation is part
    of it. It carries ``export_metadata``: in ONNX's metadata, or as the extra file ``metadata.json`` of torch.export.

    Args:
        model: The model, on the CPU.
        target: The format.
        path: The file to write.
        images: Images on which the scores of both are compared.

    Raises:
        ConfigurationError: If packages that the format needs are not installed.
        ExportError: If the exporter refuses the model, or scores differ by more than ``TOLERANCE`` and more than a
            millionth of the largest one.
    """
    make, load = _FORMATS[target]
    if target == "onnx":
        _require_onnx()
    wrapped = UnitInputModel(model).eval()
    try:
        data = make(wrapped, export_metadata(model))
        run = load(data)
        difference, scale = _compare(model, run, images)
    except ExportError:
        raise
    except Exception as error:  # Exporters and runtimes raise errors of many kinds, some of them bare exceptions.
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(f"the model cannot be exported to {target}: {type(error).__name__}: {reason}") from error
    tolerance = max(TOLERANCE, _RELATIVE_TOLERANCE * scale)
    if not difference <= tolerance:  # Also where it is NaN.
        raise ExportError(
            f"the export to {target} gives other scores: they differ by up to {difference:.2g} on {len(images)} images "
            f"(allowed: {tolerance:.2g}). {path} was not written."
        )
    write_atomically(path, data)
    model_seconds, export_seconds = latencies([wrapped, run], images[:1] / 255)
    return Export(difference, tolerance, len(images), model_seconds, export_seconds)


def export_metadata(model: Exportable) -> dict[str, str]:
    """Return what an export says about itself: plain texts by name, structured ones as JSON."""
    form = model.input_form
    channels, height, width = form.shape
    colours = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
    if isinstance(model, Module):
        kind, names = "module", [model.info.class_name]
    else:
        kind, names = ("patched" if isinstance(model, PatchedModel) else "composed"), list(model.class_names)
    licences = sorted({part.info.licence for part in model.modules() if isinstance(part, Module) and part.info.licence})
    return {
        "producer": "splitbench",
        "kind": kind,
        "class_names": json.dumps(names, ensure_ascii=False),
        "input": f"float32 images [batch, {channels}, {height}, {width}] ({colours}), values in [0, 1]",
        "output": "score of the class [batch]" if kind == "module" else "scores [batch, class]; the highest one wins",
        "normalisation": json.dumps(
            {"mean": form.normalisation.mean, "std": form.normalisation.std, "inside_the_graph": True}
        ),
        **({"licence": "; ".join(licences)} if licences else {}),
    }


def _require_onnx() -> None:
    missing = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"exports to ONNX need {', '.join(missing)}, not installed here: pip install {' '.join(missing)}"
        )


def _contiguous(model: Exportable) -> Exportable:
    """Return a copy with contiguous tensors: torch.export.save warns about views and channels_last."""
    copied = copy.deepcopy(model)
    for tensor in (*copied.parameters(), *copied.buffers()):
        tensor.data = tensor.detach().clone(memory_format=torch.contiguous_format)
    return copied


@torch.no_grad()
def _compare(
    model: Exportable, run: Runner, images: UInt8[Tensor, "image channel height width"]
) -> tuple[float, float]:
    """Return the largest difference of a score between model and export, and the model's largest score."""
    normalise = model.input_form.normalisation
    expected = torch.cat([model(normalise(batch)) for batch in images.split(_BATCH)])
    actual = torch.cat([run(batch / 255) for batch in images.split(_BATCH)])
    if actual.shape != expected.shape:
        raise ExportError(f"the export returns scores of shape {list(actual.shape)} instead of {list(expected.shape)}.")
    return float((actual - expected).abs().max()), float(expected.abs().max())


def _example(wrapped: UnitInputModel) -> tuple[Tensor]:
    # Two images: for the exporters, a batch of one is a constant.
    return (torch.rand(2, *wrapped.model.input_form.shape, generator=torch.Generator().manual_seed(0)),)


def _to_onnx(wrapped: UnitInputModel, metadata: dict[str, str]) -> bytes:
    program = torch.onnx.export(
        wrapped,
        _example(wrapped),
        dynamo=True,
        input_names=["images"],
        output_names=["scores"],
        dynamic_shapes={"images": {0: "batch"}},
        verbose=False,
    )
    if program is None:
        raise ExportError("torch.onnx.export returned nothing.")
    program.model.metadata_props.update(metadata)
    data: bytes = program.model_proto.SerializeToString()
    return data


def _load_onnx(data: bytes) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # As many as the model has, for comparable times.
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return run


def _to_torch_export(wrapped: UnitInputModel, metadata: dict[str, str]) -> bytes:
    batch = torch.export.Dim("batch")
    program = torch.export.export(wrapped, _example(wrapped), dynamic_shapes={"images": {0: batch}})
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(metadata, ensure_ascii=False)})
    return buffer.getvalue()


def _load_torch_export(data: bytes) -> Runner:
    return torch.export.load(io.BytesIO(data)).module()


_FORMATS: dict[ExportFormat, tuple[Callable[[UnitInputModel, dict[str, str]], bytes], Callable[[bytes], Runner]]] = {
    "onnx": (_to_onnx, _load_onnx),
    "torch-export": (_to_torch_export, _load_torch_export),
}
