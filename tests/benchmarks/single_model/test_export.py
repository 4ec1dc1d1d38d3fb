"""Exports give the model's scores, take any batch of images in [0, 1], say what they are, or are not written."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.single_model import export as exports
from benchmarks.single_model.export import METADATA_FILE, ExportError, ExportFormat, export_model
from splitters import Module, compose, patch, split
from splitters.data import Normalisation
from splitters.errors import ConfigurationError
from splitters.testing import tiny_task

NORMALISATION = Normalisation((0.3, 0.5, 0.4), (0.2, 0.3, 0.1))


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    task = tiny_task(seed=3)
    normalisation = replace(
        NORMALISATION,
        mean=NORMALISATION.mean[: task.train.input_shape[0]],
        std=NORMALISATION.std[: task.train.input_shape[0]],
    )
    train, select = (replace(images, normalisation=normalisation) for images in (task.train, task.select))
    found = split(task.model, train, select, "random", retention=0.5).modules()
    for module in found:
        module.info = module.info.model_copy(update={"licence": "Apache-2.0"})
    return found


def pictures(module: Module, count: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, *module.input_form.shape), dtype=torch.uint8, generator=generator)


def run_onnx(path: Path) -> tuple[Callable[[Tensor], Tensor], dict[str, str]]:
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    run = lambda images: torch.from_numpy(session.run(["scores"], {"images": images.numpy()})[0])  # noqa: E731
    return run, session.get_modelmeta().custom_metadata_map


def run_torch(path: Path) -> tuple[Callable[[Tensor], Tensor], dict[str, str]]:
    extra = {METADATA_FILE: ""}
    program = torch.export.load(io.BytesIO(path.read_bytes()), extra_files=extra)
    return program.module(), json.loads(extra[METADATA_FILE])


TARGETS = [
    pytest.param("torch-export", run_torch, id="torch-export"),
    pytest.param("onnx", run_onnx, id="onnx", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("target", "load"), TARGETS)
@pytest.mark.parametrize("kind", ["module", "composed", "patched"])
def test_an_export_gives_the_scores_of_any_number_of_images_and_says_what_it_is(
    modules: list[Module], kind: str, target: ExportFormat, load: Callable, tmp_path: Path
) -> None:
    if target == "onnx":
        pytest.importorskip("onnxruntime")
    task = tiny_task(seed=3)
    select = replace(task.select, normalisation=modules[0].normalisation)
    model = {"module": lambda: modules[1], "composed": lambda: compose(modules[::-1])}.get(
        kind, lambda: patch(task.model, modules[1], select)
    )()
    report = export_model(model, target, tmp_path / "new" / "out", pictures(modules[0]))
    assert report.images == 5
    assert report.difference <= report.tolerance
    run, metadata = load(tmp_path / "new" / "out")
    for count in (1, 3):
        images = pictures(modules[0], count)
        with torch.no_grad():
            expected = model(model.input_form.normalisation(images))
        torch.testing.assert_close(run(images / 255).detach(), expected, rtol=1e-6, atol=2e-5)
    names = [modules[1].info.class_name] if kind == "module" else list(model.class_names)
    assert json.loads(metadata["class_names"]) == names
    assert metadata["kind"] == kind
    assert json.loads(metadata["normalisation"])["mean"] == list(modules[0].normalisation.mean)
    assert "[0, 1]" in metadata["input"]
    assert metadata["licence"] == "Apache-2.0"


def test_an_export_with_other_scores_is_not_written(
    modules: list[Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, load = exports._FORMATS["torch-export"]
    monkeypatch.setitem(exports._FORMATS, "torch-export", (make, lambda data: lambda images: load(data)(images) + 1e-3))
    with pytest.raises(ExportError, match=r"differ by up to 0\.001 on 5 images"):
        export_model(modules[0], "torch-export", tmp_path / "out", pictures(modules[0]))
    assert not list(tmp_path.iterdir())


def test_scores_that_are_not_numbers_are_no_parity(
    modules: list[Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, load = exports._FORMATS["torch-export"]
    monkeypatch.setitem(
        exports._FORMATS, "torch-export", (make, lambda data: lambda images: load(data)(images) * torch.nan)
    )
    with pytest.raises(ExportError, match="differ by up to nan"):
        export_model(modules[0], "torch-export", tmp_path / "out", pictures(modules[0]))


def test_a_model_that_the_exporter_refuses_is_one_line(
    modules: list[Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise RuntimeError("no such operator\nand a long listing")

    monkeypatch.setitem(exports._FORMATS, "torch-export", (refuse, exports._FORMATS["torch-export"][1]))
    with pytest.raises(ExportError) as raised:
        export_model(modules[0], "torch-export", tmp_path / "out", pictures(modules[0]))
    assert str(raised.value) == "the model cannot be exported to torch-export: RuntimeError: no such operator"


def test_absent_packages_are_an_error_that_names_them(
    modules: list[Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_ONNX_PACKAGES", ("torch", "onnx_of_nobody"))
    with pytest.raises(ConfigurationError, match=r"need onnx_of_nobody, .*: pip install onnx_of_nobody") as raised:
        export_model(modules[0], "onnx", tmp_path / "out", pictures(modules[0]))
    assert "\n" not in str(raised.value)
