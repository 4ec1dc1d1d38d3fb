"""Base models: what they are made of, and what is said when they cannot be made."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.cells import ModelSpec
from benchmarks.models import MODELS, build_model, check_model, code_fingerprint
from benchmarks.models.architecture import count_logits
from benchmarks.models.families.torchvision_zoo import _make
from splitters.errors import ConfigurationError, UnknownNameError


def _build(name: str, shape: tuple[int, int, int] = (3, 32, 32), n_classes: int = 10, **settings: object) -> nn.Module:
    return build_model(ModelSpec(name=name, settings=settings), n_classes=n_classes, input_shape=shape, seed=0)


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def test_every_model_has_a_one_line_description() -> None:
    assert set(MODELS) >= {"simcnn", "rescnn", "incecnn", "torchvision:NAME", "python:PACKAGE.MODULE:FACTORY"}
    for name in MODELS:
        assert "\n" not in MODELS.get(name).description


@pytest.mark.parametrize(
    ("name", "layers", "kernels"), [("simcnn", 13, 4224), ("rescnn", 12, 4288), ("incecnn", 12, 3200)]
)
def test_full_width_has_the_papers_kernels(name: str, layers: int, kernels: int) -> None:
    with torch.device("meta"):
        model = MODELS.get(name).build("", {}, n_classes=10, input_shape=(3, 32, 32))
    assert len(_convolutions(model)) == layers
    assert sum(conv.out_channels for conv in _convolutions(model)) == kernels


def test_simcnn_layers_and_features_scale_with_width() -> None:
    model = _build("simcnn", width=0.125)
    assert [conv.out_channels for conv in _convolutions(model)] == [8, 8, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64, 64]
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert [(linear.in_features, linear.out_features) for linear in linears] == [(64, 512), (512, 512), (512, 10)]


def test_incecnn_branches_are_1_3_and_5_wide() -> None:
    sizes = [(conv.kernel_size[0], conv.out_channels) for conv in _convolutions(_build("incecnn", width=0.125))]
    assert sizes == [(3, 8), (3, 16), (3, 32)] + [(1, 32), (3, 32), (5, 8)] + 2 * [(1, 64), (3, 64), (5, 8)]


@pytest.mark.parametrize("name", ["simcnn", "rescnn", "incecnn"])
def test_width_never_removes_the_last_channel(name: str) -> None:
    assert {conv.out_channels for conv in _convolutions(_build(name, width=1e-6))} == {1}


@pytest.mark.parametrize("name", ["simcnn", "rescnn", "incecnn"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_networks_take_other_shapes_and_go_through_fx(name: str, norm: str) -> None:
    model = _build(name, (1, 40, 64), n_classes=7, width=0.05, norm=norm).eval()
    images = torch.randn(2, 1, 40, 64, generator=torch.Generator().manual_seed(0))
    traced = torch.fx.symbolic_trace(model)
    assert torch.equal(traced(images), model(images))
    assert model(images).shape == (2, 7)
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == (norm == "batch")


@pytest.mark.parametrize(("name", "smallest"), [("simcnn", 32), ("rescnn", 32), ("incecnn", 8)])
def test_images_too_small_for_the_poolings_are_refused(name: str, smallest: int) -> None:
    _build(name, (3, smallest, smallest), width=0.05)
    with pytest.raises(ConfigurationError, match=rf"too small for {name}.*at least {smallest}x{smallest}"):
        _build(name, (3, smallest, smallest - 1), width=0.05)


def test_residual_sums_tie_the_output_of_1_to_that_of_3() -> None:
    model = _build("rescnn", width=0.05).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    seen: dict[int, torch.Tensor] = {}
    for index in (1, 3, 4):
        model.get_submodule(f"blocks.{index}").register_forward_hook(
            lambda _module, inputs, output, index=index: seen.update({index: output.clone(), -index: inputs[0].clone()})
        )
    model(images)
    assert torch.allclose(seen[-4], seen[3] + nn.functional.max_pool2d(seen[1], 2))


def test_the_seed_alone_decides_the_initial_weights() -> None:
    torch.manual_seed(1)
    first = _build("rescnn", width=0.05).state_dict()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    again = _build("rescnn", width=0.05).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = build_model(
        ModelSpec(name="rescnn", settings={"width": 0.05}), n_classes=10, input_shape=(3, 32, 32), seed=1
    ).state_dict()
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_convolutions_are_initialised_after_kaiming() -> None:
    conv = _convolutions(_build("simcnn", width=0.25))[-1]
    expected = (2 / (conv.out_channels * 9)) ** 0.5
    assert float(conv.weight.detach().std()) == pytest.approx(expected, rel=0.02)


def test_a_model_comes_in_train_mode_with_untouched_batch_statistics() -> None:
    model = _build("rescnn", width=0.05)
    assert model.training
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(float(norm.running_mean.abs().sum()) == 0 for norm in norms if norm.running_mean is not None)


def test_an_unknown_setting_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(ConfigurationError, match=r"suite: model 'simcnn': unknown key 'widht'.*'width'.*features"):
        check_model(ModelSpec(name="simcnn", settings={"widht": 1}), where="suite")


@pytest.mark.parametrize("settings", [{"width": 0}, {"norm": "layer"}, {"dropout": 1.0}, {"features": 0}])
def test_a_setting_out_of_range_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        check_model(ModelSpec(name="simcnn", settings=settings))


@pytest.mark.parametrize(
    ("name", "settings", "smallest"),
    [("simcnn", {}, 32), ("rescnn", {}, 32), ("incecnn", {}, 8), ("simplecnn", {"convolutions": 2}, 4)],
)
def test_images_that_are_too_small_are_refused_without_building_anything(
    name: str, settings: dict[str, object], smallest: int
) -> None:
    spec = ModelSpec(name=name, settings=settings)
    check_model(spec, input_shape=(3, smallest, smallest))
    with pytest.raises(ConfigurationError, match=rf"here: model '{name}': .*at least {smallest}x{smallest}"):
        check_model(spec, where="here", input_shape=(3, smallest, smallest - 1))


@pytest.mark.parametrize("name", ["simcn", "simcnn:x", "torchvision", "torchvision:", "python", "onnx:x"])
def test_an_unknown_model_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model .*Known: hf:OWNER/REPO, incecnn, python:PACKAGE"):
        check_model(ModelSpec(name=name))


def test_torchvision_networks_are_built_untrained() -> None:
    model = _build("torchvision:mobilenet_v3_small", n_classes=3, dropout=0.1)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_googlenet_gives_one_tensor_in_train_mode() -> None:
    assert isinstance(_build("torchvision:googlenet")(torch.zeros(2, 3, 32, 32)), torch.Tensor)


def test_a_misspelt_torchvision_network_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"torchvision model 'resnet81'\. Did you mean 'resnet18'"):
        check_model(ModelSpec(name="torchvision:resnet81"))


@pytest.mark.parametrize("settings", [{"depth": 3}, {"width_per_group": "x"}])
def test_settings_that_torchvision_refuses_are_named(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=f"torchvision refuses the settings .*{next(iter(settings))}"):
        check_model(ModelSpec(name="torchvision:resnet18", settings=settings))


@pytest.mark.parametrize(
    ("name", "published", "small"),
    [("resnet18", 1, 4), ("densenet121", 1, 4), ("shufflenet_v2_x0_5", 1, 4), ("mobilenet_v2", 1, 2),
     ("mobilenet_v3_small", 1, 2), ("efficientnet_b0", 1, 2)],
)  # fmt: skip
def test_a_stem_without_stride_keeps_small_images_large(name: str, published: int, small: int) -> None:
    for settings, side in (({}, published), ({"stem_stride": 1}, small)):
        sides: list[int] = []

        def note_side(_norm: nn.Module, _inputs: object, output: torch.Tensor, sides: list[int] = sides) -> None:
            sides.append(output.shape[-1])

        with torch.device("meta"):
            model = _make(name, settings, n_classes=3).eval()
            for norm in model.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    norm.register_forward_hook(
                        lambda _norm, _inputs, output, sides=sides: sides.append(output.shape[-1])
                    )
            assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
        assert sides[-1] == side


def test_a_vgg_for_small_images_has_a_small_classifier() -> None:
    with torch.device("meta"):
        model = _make("vgg11_bn", {"pooled_size": 1}, n_classes=3)
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert model.get_submodule("classifier.0").in_features == 512


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet18", {"stem_stride": 3}, r"stem_stride must be one of \[1, 2, 4\], not 3; 4 is as published"),
        ("mobilenet_v2", {"stem_stride": 4}, r"stem_stride must be one of \[1, 2\], not 4; 2 is as published"),
        ("squeezenet1_1", {"stem_stride": 1}, "'stem_stride' is a setting of DenseNet, .*not of this network"),
        ("vgg11_bn", {"pooled_size": 8}, "pooled_size must be 1 to 7, not 8"),
        ("resnet18", {"pooled_size": 1}, "'pooled_size' is a setting of VGG only"),
    ],
)
def test_settings_for_small_images_that_a_network_lacks_are_refused(
    name: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"here: model 'torchvision:{name}': {message}"):
        check_model(ModelSpec(name=f"torchvision:{name}", settings=settings), where="here")


@pytest.mark.parametrize("key", ["weights", "num_classes"])
def test_settings_of_the_benchmark_are_reserved(key: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{key}' is set by the benchmark"):
        check_model(ModelSpec(name="torchvision:resnet18", settings={key: 3}))


def test_images_that_a_network_does_not_take_are_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"model 'torchvision:squeezenet1_1' does not take images of shape \(1"
    ):
        _build("torchvision:squeezenet1_1", (1, 32, 32))


def test_whatever_a_forward_raises_is_said_with_its_type() -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return {"features": images}["logits"]

    with pytest.raises(ConfigurationError, match=r"'mine' does not take images of shape .*: KeyError: 'logits'"):
        count_logits(Broken(), "mine", (1, 8, 8))


_FACTORIES = """
from torch import nn
def net(n_classes, input_shape, *, hidden=4):
    channels, height, width = input_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, hidden), nn.Linear(hidden, n_classes))
def three(): return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
def anything(**settings): return net(settings["n_classes"], settings["input_shape"])
def as_torchvision(num_classes, depth=1): return net(num_classes, (3, 2, 2))
def needs(n_classes, depth): return three()
def wrong(): return 5
def pair():
    class Pair(nn.Module):
        def forward(self, x): return x, x
    return Pair()
number = 3
instance = three()
def by_position(n_classes, /): return three()
class TakesNothing(nn.Module): pass
def broken(n_classes):
    return nn.Linear("wide", n_classes)
def leaves(): raise SystemExit(3)
def interrupted(): raise KeyboardInterrupt
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_nets_for_tests.py").write_text(_FACTORIES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_nets_for_tests", raising=False)
    return "python:my_nets_for_tests"


def test_a_factory_gets_what_its_signature_takes(factories: str) -> None:
    hidden = _build(f"{factories}:net", (3, 2, 2), hidden=6).get_submodule("1")
    assert isinstance(hidden, nn.Linear)
    assert hidden.out_features == 6
    _build(f"{factories}:three", (3, 2, 2), n_classes=3)
    _build(f"{factories}:anything", (3, 2, 2), n_classes=5)
    _build(f"{factories}:as_torchvision", (3, 2, 2), n_classes=5)
    with pytest.raises(ConfigurationError, match=r"turns one image into \(1, 4\)"):
        _build(f"{factories}:as_torchvision", (3, 2, 2), n_classes=5, num_classes=4)


def test_the_code_of_a_factory_has_a_fingerprint(factories: str, tmp_path: Path) -> None:
    spec = ModelSpec(name=f"{factories}:net")
    before = code_fingerprint(spec)
    path = tmp_path / "my_nets_for_tests.py"
    path.write_text(path.read_text() + "\n# changed\n")
    assert len(before) == 64
    assert code_fingerprint(spec) == before, "what was imported still runs"
    importlib.reload(sys.modules["my_nets_for_tests"])
    assert code_fingerprint(spec) != before
    assert code_fingerprint(ModelSpec(name="simcnn")) == ""


@pytest.mark.parametrize(
    ("member", "settings", "message"),
    [
        ("net", {"hiden": 3}, r"unknown setting 'hiden'. Did you mean 'hidden'\?"),
        ("net", {"n_classes": 3}, "'n_classes' is set by the benchmark"),
        (
            "needs",
            {},
            r"the factory needs 'depth'\. If that is the number of logits, call it n_classes; otherwise give it",
        ),
        ("nett", {}, "unknown factory in my_nets_for_tests 'nett'. Did you mean 'net'"),
        ("number", {}, "it must be a function or a class"),
        ("instance", {}, r"is a network, not a function that returns one\. .* write python:my_nets_for_tests:make"),
        ("by_position", {}, "takes 'n_classes' by position alone"),
        ("", {}, "is not written as package.module:factory"),
    ],
)
def test_a_factory_that_cannot_be_called_is_refused(
    factories: str, member: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_model(ModelSpec(name=f"{factories}:{member}", settings=settings))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("three", r"turns one image into \(1, 3\); it must give a tensor of logits of shape \(1, 10\).*--classes"),
        ("wrong", "its factory returned an object of type int; it must return a torch.nn.Module"),
        ("pair", "turns one image into tuple"),
        ("TakesNothing", r"TakesNothing' cannot be constructed: .*TypeError: .*'n_classes'"),
        ("broken", r"my_nets_for_tests\.py, line \d+: TypeError"),
        ("leaves", r"my_nets_for_tests\.py, line \d+: SystemExit: 3"),
    ],
)
def test_a_factory_that_makes_no_classifier_is_refused(factories: str, member: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        _build(f"{factories}:{member}", (3, 2, 2))


def test_an_interrupt_in_a_factory_passes_through(factories: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        _build(f"{factories}:interrupted", (3, 2, 2))


def test_a_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'no_such_module' cannot be imported: .*PYTHONPATH"):
        check_model(ModelSpec(name="python:no_such_module:net"))
