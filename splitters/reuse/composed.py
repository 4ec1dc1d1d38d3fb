"""Composed models: several modules side by side answer with the class of the highest score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splitters.data import ImageSet
from splitters.errors import ConfigurationError, listed_names
from splitters.modules.html_table import html_paragraph, html_table
from splitters.modules.input_adapter import InputAdapter
from splitters.modules.module import Module, NormalisationInfo, require_modules
from splitters.modules.scores import evidence
from splitters.networks.cost import Cost
from splitters.reuse.model_format import ModelDescription
from splitters.reuse.reused_model import ReusedModel
from splitters.reuse.score_calibration import ScoreCalibration, calibrate
from splitters.settings import normalise_class_name
from splitters.tensor_names import with_prefix

_MODULES_SHOWN = 20


class ComposedModel(ReusedModel):
    """Several modules side by side, which may come from different base models.

    The scores are in the order of ``class_names``; the order in which modules are given makes no difference. Where the
    modules' input formats differ, the model takes the largest one and adapts its images to the others.

    Args:
        modules: One module per class, in any order.
        class_names: The order of the classes. Default: as in the base models if all list the same ones, else sorted.
        calibration: Makes the scores comparable, in the order of ``class_names``; without it, all scores must be of
            one kind.

    Raises:
        ConfigurationError: If there is no module, a class occurs twice, scores are of kinds that do not compare, or
            the modules' input formats cannot be adapted to each other.
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(
        self,
        modules: Sequence[Module],
        class_names: Sequence[str] | None = None,
        *,
        calibration: ScoreCalibration | None = None,
    ) -> None:
        order = _class_order(modules, class_names)
        if calibration is None:
            _check_comparable(modules)
        elif not len(calibration.scale) == len(calibration.shift) == len(order):
            raise ConfigurationError(f"the calibration has {len(calibration.scale)} classes, the model {len(order)}.")
        _check_devices(modules)
        # Grey images can become coloured ones, but not the other way round.
        forms = [module.input_form for module in modules]
        form = max([form for form in forms if form.shape[0] == 1] or forms)
        for module in modules:
            form.check_adaptable(module.input_form, name=f"the module of {module.info.class_name!r}")
        super().__init__(order, form)
        by_name = {module.info.class_name: module for module in modules}
        self.parts = nn.ModuleList(by_name[name] for name in order)
        self.adapters = nn.ModuleList(InputAdapter(form, by_name[name].input_form) for name in order)
        self.register_buffer("scale", None if calibration is None else calibration.scale)
        self.register_buffer("shift", None if calibration is None else calibration.shift)
        self.to(modules[0].device)

    @property
    def modules_in_order(self) -> list[Module]:
        """The modules, in the order of ``class_names``."""
        return [part for part in self.parts if isinstance(part, Module)]

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch class"]:
        """Return the modules' scores of normalised images, in the order of ``class_names``."""
        scores = [part(adapter(images)) for part, adapter in zip(self.parts, self.adapters, strict=True)]
        if self.scale is None or self.shift is None:
            return torch.stack(scores, dim=1)
        unbounded = [
            evidence(column, is_probability=part.score.is_probability)
            for column, part in zip(scores, self.modules_in_order, strict=True)
        ]
        return torch.stack(unbounded, dim=1) * self.scale + self.shift

    @property
    def scores_are_probabilities(self) -> bool:
        """Whether the scores are the modules' heads, uncalibrated."""
        return self.scale is None and self.modules_in_order[0].score.is_probability

    @property
    def n_kernels(self) -> int:
        """The number of kernels over all modules."""
        return sum(part.n_kernels for part in self.modules_in_order)

    @property
    def n_kernels_union(self) -> int:
        """The number of different kernels, which is what must be stored; those of different base models differ."""
        return len(
            {
                (part.info.base_model_hash or id(part), layer, kernel)
                for part in self.modules_in_order
                for layer, kept in part.info.kept.items()
                for kernel in kept
            }
        )

    def cost(self) -> Cost:
        """Return the sum of the modules' costs."""
        total = Cost(0, 0)
        for part in self.modules_in_order:
            total = total + part.cost()
        return total

    def _repr_html_(self) -> str:
        """Return a summary for notebooks: what each module keeps and costs."""
        parts, costs = self.modules_in_order, [part.cost() for part in self.modules_in_order]
        rows = [
            (
                part.info.class_name,
                f"{part.n_kernels:,}",
                f"{cost.flops:,}",
                f"{cost.parameters:,}",
                part.info.base_model,
            )
            for part, cost in zip(parts, costs, strict=True)
        ]
        if len(rows) > _MODULES_SHOWN:
            rows[_MODULES_SHOWN:] = [(f"{len(parts) - _MODULES_SHOWN} more", "", "", "", "")]
        total = sum(costs, Cost(0, 0))
        rows.append(("sum", f"{self.n_kernels:,}", f"{total.flops:,}", f"{total.parameters:,}", ""))
        size = "x".join(map(str, self.input_form.shape))
        table = html_table(("module", "kernels", "FLOPs per image", "parameters", "base model"), rows)
        return html_paragraph(f"Composed model of {len(parts)} modules, for images of {size}") + table

    def describe(self) -> tuple[ModelDescription, dict[str, Tensor]]:
        """Return the model as JSON and tensors by name; see ``ReusedModel.describe``."""
        descriptions, tensors = [], {}
        for index, module in enumerate(self.modules_in_order):
            description, stored = module.describe()
            descriptions.append(description)
            tensors.update(with_prefix(stored, f"modules.{index}."))
        if self.scale is not None and self.shift is not None:
            tensors.update(with_prefix({"scale": self.scale, "shift": self.shift}, "calibration."))
        normalisation = self.input_form.normalisation
        return (
            ModelDescription(
                kind="composed",
                class_names=self.class_names,
                input_shape=self.input_form.shape,
                normalisation=NormalisationInfo(mean=normalisation.mean, std=normalisation.std),
                modules=descriptions,
            ),
            tensors,
        )


def compose(
    modules: Sequence[Module], class_names: Sequence[str] | None = None, *, calibration: ImageSet | None = None
) -> ComposedModel:
    """Compose modules into a classifier of their classes.

    Args:
        modules: One module per class, in any order.
        class_names: The order of the classes; see ``ComposedModel``.
        calibration: Labelled images of at least these classes, on which scores of different kinds are made comparable
            (``calibrate``). Never the test set. None takes the scores as they are, which must then be of one kind.

    Raises:
        ConfigurationError: If the modules do not fit each other, or have scores of different kinds.
        DataError: If the calibration images lack one of the classes, or a score on them is not finite.
    """
    if calibration is None:
        return ComposedModel(modules, class_names)
    order = _class_order(modules, class_names)
    by_name = {module.info.class_name: module for module in modules}
    fitted = calibrate([by_name[name] for name in order], calibration.of_classes(order))
    return ComposedModel(modules, order, calibration=fitted)


def _class_order(modules: Sequence[Module], class_names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the order of the modules' classes, each of which must occur once."""
    if isinstance(modules, Module) or not modules:
        raise ConfigurationError("a composed model needs a list of modules, with at least one module in it.")
    require_modules(modules)
    names = Counter(module.info.class_name for module in modules)
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise ConfigurationError(f"each class needs one module, but there are several for {twice}.")
    if class_names is None:
        return _default_order(modules)
    class_names = tuple(map(normalise_class_name, class_names))
    if sorted(class_names) != sorted(names):
        raise ConfigurationError(f"the modules recognise {sorted(names)}, but the classes are {sorted(class_names)}.")
    return class_names


def _default_order(modules: Sequence[Module]) -> tuple[str, ...]:
    if len({module.info.class_names for module in modules}) == 1:
        return tuple(module.info.class_name for module in sorted(modules, key=lambda module: module.info.class_index))
    return tuple(sorted(module.info.class_name for module in modules))


def _check_comparable(modules: Sequence[Module]) -> None:
    by_kind: dict[str, list[str]] = {}
    for module in modules:
        by_kind.setdefault(module.score.kind, []).append(module.info.class_name)
    if len(by_kind) > 1:
        listed = "; ".join(f"{kind!r} (modules of {listed_names(names)})" for kind, names in sorted(by_kind.items()))
        raise ConfigurationError(
            f"scores of different kinds do not compare: {listed}. Take modules whose scores are of one kind, or "
            "calibrate them on labelled images: splitters.compose(modules, calibration=images)."
        )


def _check_devices(modules: Sequence[Module]) -> None:
    by_device: dict[str, list[str]] = {}
    for module in modules:
        by_device.setdefault(str(module.device), []).append(module.info.class_name)
    if len(by_device) > 1:
        listed = "; ".join(f"{listed_names(names)} on {device}" for device, names in sorted(by_device.items()))
        raise ConfigurationError(f"the modules lie on several devices: {listed}. Move them: module.to(device).")
