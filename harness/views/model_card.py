"""Model cards: what the files of modules, models and trained networks say about themselves, in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from benchmarks.models.families.python_factory import PYTHON_PREFIX
from benchmarks.single_model.weights_file import TrainedWeights
from harness.text import printable
from splitters.modules.module import Module
from splitters.networks.cost import Cost, network_cost
from splitters.reuse.composed import ComposedModel
from splitters.reuse.patched import PatchedModel

AnyModel = Module | ComposedModel | PatchedModel | TrainedWeights

_HASH_LENGTH = 12
_UNKNOWN = "unknown"


def model_card(model: AnyModel, *, file_name: str, file_bytes: int) -> str:
    """Return the card of a model that was loaded from a file.

    Args:
        model: The model.
        file_name: The file's name, without folders.
        file_bytes: Its size.
    """
    modules = [] if isinstance(model, TrainedWeights) else _modules_of(model)
    facts = {**_facts(model), "size": f"{_bytes_text(file_bytes)}, {_cost_text(_cost(model))}"}
    lines = [*_front_matter(modules), f"# {_escaped(file_name)}", "", _summary(model), ""]
    lines += _table(("", ""), list(facts.items()))
    if modules:
        lines += ["", "## Modules", "", *_module_table(modules)]
        lines += ["", "## Kernels kept", "", *_kernel_lines(modules)]
    origins = _origins(model, modules)
    lines += ["", "## Images it was made with", "", *(f"- {origin}" for origin in origins)]
    lines += ["", "## How to load it", "", "```python", *_loading(model, file_name), "```"]
    return "\n".join(lines)


def _modules_of(model: nn.Module) -> list[Module]:
    return [part for part in model.modules() if isinstance(part, Module)]


def _front_matter(modules: Sequence[Module]) -> list[str]:
    """Return the metadata that the Hugging Face hub reads; JSON strings are valid YAML."""
    licences = {module.info.licence for module in modules}
    known = licences.pop() if len(licences) == 1 else None
    licence = ["license: other", f"license_name: {json.dumps(printable(known))}"] if known else []
    return ["---", "library_name: splitbench", "pipeline_tag: image-classification", *licence, "---", ""]


def _licence_text(model: nn.Module) -> str:
    licences = "; ".join(sorted({module.info.licence or _UNKNOWN for module in _modules_of(model)}))
    return _escaped(
        f"of the module: {licences}; of the patched network: {_UNKNOWN}"
        if isinstance(model, PatchedModel)
        else licences
    )


def _summary(model: AnyModel) -> str:
    if isinstance(model, TrainedWeights):
        return f"A trained network that tells {len(model.header.class_names)} classes apart."
    if isinstance(model, Module):
        return (
            f"The part of a trained CNN that recognises the class {_escaped(model.info.class_name)}: it returns one "
            "score per image, higher for images of its class."
        )
    if isinstance(model, PatchedModel):
        return (
            f"A classifier of {len(model.class_names)} classes: a network patched with a module for the class "
            f"{_escaped(model.target_class)}."
        )
    return f"A classifier of {len(model.class_names)} classes, composed of one module per class."


def _facts(model: AnyModel) -> dict[str, str]:
    if isinstance(model, TrainedWeights):
        header = model.header
        return {
            "network": _escaped(header.model.name),
            "settings": _escaped(json.dumps(header.model.settings, ensure_ascii=False)),
            "classes": _names(header.class_names),
            "input": _shape_text(header.input_shape),
            "accuracy on select": f"{100 * header.select_accuracy:.2f} %",
            "licence": _UNKNOWN,
        }
    form, normalisation = model.input_form, model.input_form.normalisation
    facts = {
        **(
            {"class": _escaped(model.info.class_name), "classes of the base model": _names(model.info.class_names)}
            if isinstance(model, Module)
            else {"classes": _names(model.class_names)}
        ),
        "input": _shape_text(form.shape),
        "normalisation": f"mean {_numbers(normalisation.mean)}, std {_numbers(normalisation.std)} (values in 0 to 1)",
        "licence": _licence_text(model),
    }
    return {**facts, "fusion rule": _escaped(model.fusion.kind)} if isinstance(model, PatchedModel) else facts


def _cost(model: AnyModel) -> Cost:
    if isinstance(model, TrainedWeights):
        return network_cost(model.model, model.header.input_shape)
    return model.cost()


def _module_table(modules: Sequence[Module]) -> list[str]:
    measures = sorted({name for module in modules for name in module.info.metrics})
    headings = (
        "class",
        "base model",
        "weights",
        "splitter",
        "score",
        "kernels",
        *(m.replace("_", " ") for m in measures),
    )
    return _table(
        headings,
        [
            (
                _escaped(module.info.class_name),
                _escaped(module.info.base_model or _UNKNOWN),
                f"`{_hash(module)}`",
                _escaped(module.info.splitter or _UNKNOWN),
                _escaped(module.score.kind),
                f"{sum(map(len, module.info.kept.values())):,}",
                *(_metric(module.info.metrics, name) for name in measures),
            )
            for module in modules
        ],
    )


def _hash(module: Module) -> str:
    return re.sub(r"\W", "", module.info.base_model_hash)[:_HASH_LENGTH] or _UNKNOWN


def _metric(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.4g}" if name in metrics else "–"


def _kernel_lines(modules: Sequence[Module]) -> list[str]:
    """Return a table of the kernels that each module keeps of each convolution."""
    layers = list(dict.fromkeys(layer for module in modules for layer in module.info.kept))
    return _table(
        ("convolution", *(_escaped(module.info.class_name) for module in modules)),
        [
            (_escaped(layer), *(str(len(kept)) if (kept := module.info.kept.get(layer)) else "–" for module in modules))
            for layer in layers
        ],
    )


def _origins(model: AnyModel, modules: Sequence[Module]) -> list[str]:
    if isinstance(model, TrainedWeights):
        origin = model.header.trained_on
        return [_origin_text(origin.model_dump(mode="json") if origin else {})]
    entries = [entry for module in modules for entry in module.info.trained_on or ({},)]
    return list(dict.fromkeys(map(_origin_text, entries)))


def _origin_text(entry: Mapping[str, object]) -> str:
    dataset = entry.get("dataset")
    name = dataset.get("name") if isinstance(dataset, Mapping) else dataset
    if not name:
        return _UNKNOWN
    return _escaped(f"{name}, {entry.get('part', 'train')} images of seed {entry.get('seed', _UNKNOWN)}")


def _loading(model: AnyModel, file_name: str) -> list[str]:
    file = json.dumps(file_name, ensure_ascii=False)
    if isinstance(model, TrainedWeights):
        name = model.header.model.name
        expected = f", expected={json.dumps(name)}" if name.startswith(PYTHON_PREFIX) else ""
        return [
            "from benchmarks.single_model.weights_file import load_weights",
            "",
            f"network = load_weights({file}{expected}).model",
        ]
    if isinstance(model, Module):
        return [
            "from splitters import compose, load_model",
            "",
            f"module = load_model({file})  # scores normalised images: module.transform prepares a picture",
            "compose([module, ...])  # with modules of other classes: a classifier",
        ]
    return ["from splitters import load_model", "", f'load_model({file}).predict_names("photo.jpg")']


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_line(headings), _line([":---"] * len(headings)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(_escaped, names))


def _shape_text(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{channels} × {height} × {width} (channels, height, width)"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _cost_text(cost: Cost) -> str:
    return f"{cost.parameters:,} parameters, {cost.flops:,} FLOPs per image"


def _bytes_text(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _escaped(text: str) -> str:
    """Return a text in one line that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|~&#!$])", r"\\\1", printable(text))
