"""Patched models: a module of a strong model corrects a weak model on one class, without retraining."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from splitters.canonical.model_copy import copy_of_model
from splitters.data import ImageSet
from splitters.errors import ConfigurationError, ModuleFileError
from splitters.files.network_description import check_rebuilds, check_storable, describe_network
from splitters.graph.channel_graph import ChannelGraph
from splitters.modules.html_table import html_paragraph, html_table
from splitters.modules.input_adapter import InputAdapter, InputForm
from splitters.modules.module import Module, NormalisationInfo, require_modules
from splitters.networks.cost import Cost, network_cost
from splitters.reuse.fusion import FUSIONS, Fusion, FusionExamples, fit_fusion
from splitters.reuse.model_format import ModelDescription, PatchDescription
from splitters.reuse.reused_model import ReusedModel
from splitters.settings import normalise_class_name
from splitters.tensor_names import with_prefix

DEFAULT_RULE = "temperature"
"""The default fusion rule: that with the highest mean gain in the target class's F1 on select (docs/results.md)."""

_BATCH = 256


class PatchedModel(ReusedModel):
    """A weak model, a module of its target class, and the fusion rule that combines their answers.

    Args:
        weak: The weak model in canonical form (``ChannelGraph.network``): images to ``[batch, class]`` logits.
        module: The module.
        fusion: The fitted rule.
        class_names: The weak model's classes.
        input_form: What the weak model's images look like.
    """

    def __init__(
        self, weak: fx.GraphModule, module: Module, fusion: Fusion, class_names: tuple[str, ...], input_form: InputForm
    ) -> None:
        input_form.check_adaptable(module.input_form, name=f"the module of {module.info.class_name!r}")
        super().__init__(class_names, input_form)
        self.weak = weak
        self.module = module
        self.fusion = fusion
        self.adapter = InputAdapter(input_form, module.input_form)

    @property
    def target_class(self) -> str:
        """The name of the class that is patched."""
        return self.class_names[self.fusion.target]

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch class"]:
        """Return the fused scores of normalised images."""
        return self.fuse(self.weak(images), self.module(self.adapter(images)))

    @property
    def scores_are_probabilities(self) -> bool:
        """Whether the fusion rule's scores are probabilities."""
        return self.fusion.scores_are_probabilities

    def fuse(
        self, weak_logits: Float[Tensor, "batch class"], module_scores: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Return the fused scores of images from the outputs of both networks."""
        fused: Tensor = self.fusion(weak_logits, module_scores)
        return fused

    def cost(self) -> Cost:
        """Return the cost of the weak model and the module."""
        return network_cost(self.weak, self.input_form.shape) + self.module.cost()

    def _repr_html_(self) -> str:
        """Return a summary for notebooks: which class is patched, how, and at what cost."""
        total, module, info = self.cost(), self.module.cost(), self.module.info
        parts = [
            ("weak model", total.flops - module.flops, total.parameters - module.parameters),
            (f"module of {info.class_name!r}", module.flops, module.parameters),
            ("sum", total.flops, total.parameters),
        ]
        rows = [(name, f"{flops:,}", f"{parameters:,}") for name, flops, parameters in parts]
        summary = (
            f"Patched model of {len(self.class_names)} classes: a module of {info.base_model or 'another network'} "
            f"corrects {self.target_class!r}, by the rule {self.fusion.kind}"
        )
        return html_paragraph(summary) + html_table(("part", "FLOPs per image", "parameters"), rows)

    def describe(self) -> tuple[ModelDescription, dict[str, Tensor]]:
        """Return the model as JSON and tensors by name; see ``ReusedModel.describe``."""
        rule = self.fusion.kind
        if rule not in FUSIONS or FUSIONS.get(rule) is not type(self.fusion):
            raise ModuleFileError(
                f"the patched model cannot be saved: {type(self.fusion).__name__} is not registered as the fusion rule "
                f"{rule!r}. Registered: {', '.join(FUSIONS)}."
            )
        module, module_tensors = self.module.describe()
        weak, weak_tensors = describe_network(self.weak)
        check_rebuilds(self.weak, self.input_form.shape)
        normalisation = self.input_form.normalisation
        description = ModelDescription(
            kind="patched",
            class_names=self.class_names,
            input_shape=self.input_form.shape,
            normalisation=NormalisationInfo(mean=normalisation.mean, std=normalisation.std),
            modules=[module],
            patch=PatchDescription(rule=rule, figures=self.fusion.describe(), weak=weak),
        )
        return description, {
            **with_prefix(module_tensors, "modules.0."),
            **with_prefix(weak_tensors, "weak."),
            **with_prefix(self.fusion.state_dict(), "fusion."),
        }


def patch(
    weak: nn.Module, module: Module, images: ImageSet, *, target: str | None = None, rule: str = DEFAULT_RULE
) -> PatchedModel:
    """Patch a weak model with a module, on the module's device.

    The fusion rule is fitted, so the kind of the module's score does not matter.

    Args:
        weak: Any traceable CNN: images to ``[batch, class]`` logits. It is not changed.
        module: The module of the class to patch.
        images: Images that the rule is fitted to, with the weak model's classes and input format. Neither network
            should have been trained on them; never the test set.
        target: The class to patch, among ``images.class_names``. Default: the module's class.
        rule: The fusion rule, a name in ``splitters.reuse.fusion.FUSIONS``.

    Raises:
        ConfigurationError: If the module is of another class, the weak model has other classes than the images, or
            the images cannot be adapted to the module.
        DataError: If the images do not determine the rule.
        GraphError: If the weak model cannot be traced, or no file could hold it.
    """
    require_modules([module])
    _target_index(module, images, target)
    form = InputForm(images.input_shape, images.normalisation)
    form.check_adaptable(module.input_form, name=f"the module of {module.info.class_name!r}")
    network = canonical_network(weak, images).to(module.device)
    logits, scores = _answers(network, module, InputAdapter(form, module.input_form), images)
    patched = fit_patch(network, module, images, weak_logits=logits, module_scores=scores, target=target, rule=rule)
    return patched.to(module.device)


def fit_patch(
    weak: fx.GraphModule,
    module: Module,
    images: ImageSet,
    *,
    weak_logits: Float[Tensor, "sample class"],
    module_scores: Float[Tensor, " sample"],
    target: str | None = None,
    rule: str = DEFAULT_RULE,
) -> PatchedModel:
    """Patch a weak model like ``patch``, from the outputs of both networks on the calibration images.

    Args:
        weak: The weak model, a ``canonical_network``.
        module: The module of the class to patch.
        images: The calibration images.
        weak_logits: The weak model's logits, on the CPU.
        module_scores: The module's scores, on the CPU.
        target: See ``patch``.
        rule: See ``patch``.

    Raises:
        ConfigurationError: If module, classes and logits do not fit each other.
        DataError: If the images do not determine the rule.
    """
    index = _target_index(module, images, target)
    if weak_logits.shape[1] != images.n_classes:
        raise ConfigurationError(
            f"the weak model knows {weak_logits.shape[1]} classes, but the images have {images.n_classes}: "
            f"{', '.join(images.class_names)}."
        )
    examples = FusionExamples(
        weak_logits=weak_logits,
        module_scores=module_scores,
        labels=images.labels.cpu(),
        target=index,
        is_probability=module.score.is_probability,
    )
    form = InputForm(images.input_shape, images.normalisation)
    return PatchedModel(weak, module, fit_fusion(rule, examples), images.class_names, form)


def _target_index(module: Module, images: ImageSet, target: str | None) -> int:
    name = module.info.class_name if target is None else normalise_class_name(target)
    if name not in images.class_names:
        raise ConfigurationError(f"there is no class {name!r} among {', '.join(map(repr, images.class_names))}.")
    if name != module.info.class_name:
        raise ConfigurationError(
            f"the module recognises {module.info.class_name!r}, not {name!r}; take the module of that class."
        )
    return images.class_names.index(name)


def canonical_network(weak: nn.Module, images: ImageSet) -> fx.GraphModule:
    """Return a copy of a network in the form that patched models hold, on the CPU.

    Raises:
        GraphError: If it cannot be traced, or no file could hold it.
    """
    graph = ChannelGraph.trace(copy_of_model(weak).cpu(), images.normalisation(images.images[:2].cpu()))
    check_storable(graph)
    return graph.network


@torch.no_grad()
def _answers(weak: nn.Module, module: Module, adapter: InputAdapter, images: ImageSet) -> tuple[Tensor, Tensor]:
    logits, scores = [], []
    adapter.to(module.device)
    for batch in images.to(module.device).batches(_BATCH):
        logits.append(weak(batch).cpu())
        scores.append(module(adapter(batch)).cpu())
    return torch.cat(logits), torch.cat(scores)
