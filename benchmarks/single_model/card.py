"""Model cards: what a file of Splitbench's says about itself, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.models.weights_reading import WEIGHTS_FORMAT
from benchmarks.single_model.weights_file import TrainedWeights, load_weights
from splitters.files.safetensors_file import read_format
from splitters.modules.module import Module
from splitters.reuse.composed import ComposedModel
from splitters.reuse.model_file import load_model
from splitters.reuse.patched import PatchedModel

_UNKNOWN = "not known"


def model_card(path: Path) -> str:
    """Return the model card of a module, a composed or patched model, or a trained network.

    Raises:
        ModuleFileError: If the file is absent, damaged or foreign.
    """
    model = load_weights(path) if read_format(path) == WEIGHTS_FORMAT else load_model(path)
    match model:
        case TrainedWeights():
            return _text(_of_weights(model, path))
        case Module():
            return _text(_of_module(model, path))
        case ComposedModel():
            return _text(_of_composed(model, path))
        case PatchedModel():
            return _text(_of_patched(model, path))


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def _of_weights(trained: TrainedWeights, path: Path) -> Iterator[str]:
    header = trained.header
    yield from _head(
        f"{header.model.name} for {header.dataset}", "A convolutional network trained by Splitbench.", None
    )
    yield from _table(
        {
            "classes": _names(header.class_names),
            "images": _images(header.input_shape),
            "architecture": f"{header.model.name} {dict(header.model.settings) or ''}".strip(),
            "accuracy on select": f"{100 * header.select_accuracy:.1f} %",
            "trained on": f"{header.dataset}, seed {header.seed}" if header.trained_on else _UNKNOWN,
        }
    )
    yield from _load(
        "from benchmarks.single_model.weights_file import load_weights", f'network = load_weights("{path.name}").model'
    )


def _of_module(module: Module, path: Path) -> Iterator[str]:
    info, cost = module.info, module.cost()
    yield from _head(
        f"Module of {_plain(info.class_name)}",
        f"The part of {_plain(info.base_model) or 'a convolutional network'} that recognises "
        f"{_plain(info.class_name)!r}: a small network whose score says how much an image looks like that class. "
        "It classifies once it is composed with modules of other classes.",
        info.licence,
    )
    yield from _table(
        {
            "class": f"{_plain(info.class_name)}, {info.class_index + 1} of {len(info.class_names)}",
            "images": _images(info.input_shape),
            "normalisation": f"mean {list(info.normalisation.mean)}, std {list(info.normalisation.std)}",
            "kept kernels": sum(map(len, info.kept.values())),
            "FLOPs": f"{cost.flops:,}",
            "parameters": f"{cost.parameters:,}",
            **{name.replace("_", " "): f"{value:.4g}" for name, value in info.metrics.items()},
            **_origin(module),
        }
    )
    yield from _load("from splitters import Module, compose", f'module = Module.load("{path.name}")')


def _of_composed(model: ComposedModel, path: Path) -> Iterator[str]:
    cost = model.cost()
    parts = model.modules_in_order
    licences = {part.info.licence for part in parts}
    yield from _head(
        f"Classifier of {_names(model.class_names)}",
        f"{len(parts)} modules side by side; the class of the highest score is the answer. Nothing was trained for it.",
        licences.pop() if len(licences) == 1 else None,
    )
    yield from _table(
        {
            "classes": _names(model.class_names),
            "images": _images(model.input_form.shape),
            "normalisation": f"mean {list(model.input_form.normalisation.mean)}, "
            f"std {list(model.input_form.normalisation.std)}",
            "kernels": f"{model.n_kernels:,}, {model.n_kernels_union:,} of them different",
            "FLOPs": f"{cost.flops:,}",
            "parameters": f"{cost.parameters:,}",
        }
    )
    yield "## Modules\n"
    yield "| class | base model | splitter | F1 on select | training images |\n| --- | --- | --- | --- | --- |"
    for part in parts:
        info = part.info
        f1 = f"{info.metrics['select_f1']:.3f}" if "select_f1" in info.metrics else _UNKNOWN
        cells = (info.class_name, info.base_model or _UNKNOWN, info.splitter or _UNKNOWN, f1, _training(part))
        yield f"| {' | '.join(map(_plain, cells))} |"
    yield ""
    yield from _load("from splitters import load_model", f'model = load_model("{path.name}")')


def _of_patched(model: PatchedModel, path: Path) -> Iterator[str]:
    cost = model.cost()
    yield from _head(
        f"Network patched for {_plain(model.target_class)}",
        f"A network whose answers on {_plain(model.target_class)!r} are corrected by a module of a stronger one, "
        "without training.",
        model.module.info.licence,
    )
    yield from _table(
        {
            "classes": _names(model.class_names),
            "patched class": _plain(model.target_class),
            "fusion rule": model.fusion.kind,
            "images": _images(model.input_form.shape),
            "FLOPs": f"{cost.flops:,}",
            "parameters": f"{cost.parameters:,}",
            **{f"module's {name}": value for name, value in _origin(model.module).items()},
        }
    )
    yield from _load("from splitters import load_model", f'model = load_model("{path.name}")')


def _head(title: str, summary: str, licence: str | None) -> Iterator[str]:
    # The front matter that the Hugging Face hub reads.
    tags = "splitbench, image-classification, safetensors"
    yield f"---\nlicense: {json.dumps(licence or 'unknown')}\ntags: [{tags}]\n---"
    yield f"# {title}\n\n{summary}\n"


def _table(rows: Mapping[str, object]) -> Iterator[str]:
    yield "| | |\n| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in rows.items())
    yield ""


def _origin(module: Module) -> dict[str, str]:
    info = module.info
    return {
        "base model": _plain(info.base_model) or _UNKNOWN,
        "base model's weights": f"SHA-256 {info.base_model_hash}" if info.base_model_hash else _UNKNOWN,
        "splitter": info.splitter or _UNKNOWN,
        "training images": _plain(_training(module)),
        "licence": _plain(info.licence or _UNKNOWN),
    }


def _training(module: Module) -> str:
    """Return which data sets a module's makers saw; an empty entry in its file means that nobody knows."""
    entries = module.info.trained_on or ({},)
    names = []
    for entry in entries:
        dataset = entry.get("dataset")
        named = dataset.get("name") if isinstance(dataset, dict) else None
        names.append(f"{named}, seed {entry.get('seed')}" if named else f"of the base model {_UNKNOWN}")
    return "; ".join(dict.fromkeys(names))


def _load(line: str, use: str) -> Iterator[str]:
    yield f"## Use\n\n```python\n{line}\n\n{use}\n```"


def _images(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) + " (channels, height, width)"


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(_plain, names))


def _plain(text: str) -> str:
    """Return text that came from a file, so that it is one cell of a table and no markup of its own."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    return "".join(f"\\{character}" if character in "\\|<>`*[]" else character for character in visible)
