"""Fifty of timm's small convolutional networks: split, saved, loaded, with equal logits; one has nothing to split."""

from pathlib import Path

import pytest
import torch
from exactness import TOLERANCE, images, shaken
from torch import nn

from splitters.data import IMAGENET, ImageSet
from splitters.methods.protocol import SplitTask, make_splitter
from splitters.modules.module import Module, extract_modules
from splitters.networks.masked_network import masked_network

timm = pytest.importorskip("timm", reason="timm is not installed; the extra 'test' has it")

pytestmark = pytest.mark.slow

_NETWORKS = (
    "convmixer_768_32", "convnext_atto", "convnextv2_atto", "cs3darknet_focus_s", "cspnext_tiny", "darknet17",
    "densenet121", "dla46_c", "dpn48b", "ecaresnet26t", "efficientnet_b0", "efficientnet_b0_gn", "efficientnet_lite0",
    "ese_vovnet19b_slim_dw", "fasternet_t0", "fbnetc_100", "gernet_s", "ghostnet_050", "hardcorenas_a", "hgnetv2_b0",
    "hrnet_w18_small", "inception_next_atto", "lcnet_050", "legacy_seresnet18", "mixnet_s", "mnasnet_small",
    "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small_035", "mobileone_s0", "nf_regnet_b0",
    "nf_resnet26", "regnetx_002", "regnety_002", "regnetz_005", "repghostnet_050", "repvgg_a0", "repvit_m0_9",
    "resnest14d", "resnet10t", "resnet18", "resnet50_gn", "resnetblur18", "resnetv2_50x1_bit", "rexnet_100",
    "semnasnet_075", "skresnet18", "starnet_s050", "tf_efficientnet_b0", "tf_mobilenetv3_small_075",
)  # fmt: skip

_FROZEN = {"convnextv2_atto": "sums over the channels"}
"""Networks that lose no kernel, and why: layer norms and a mean over the hidden channels mix every layer's."""


def _task(name: str) -> SplitTask:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = shaken(timm.create_model(name, pretrained=False, num_classes=2))
    generator = torch.Generator().manual_seed(0)
    bytes_ = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=generator)
    some = ImageSet(bytes_, torch.tensor([0, 1, 0, 1]), ("cat", "dog"), IMAGENET)
    return SplitTask(model, some, some, seed=0)


def test_the_list_has_fifty_networks() -> None:
    assert len(set(_NETWORKS)) == 50


@pytest.mark.parametrize("name", _FROZEN)
def test_a_network_whose_channels_all_mix_keeps_every_kernel_and_the_reason_is_given(name: str) -> None:
    graph = _task(name).trace()
    assert graph.layout.n_channels == 0
    assert _FROZEN[name] in graph.explain()


@pytest.mark.parametrize("name", [name for name in _NETWORKS if name not in _FROZEN])
def test_modules_are_exact_and_survive_a_file(name: str, tmp_path: Path) -> None:
    task, batch = _task(name), images(2, 3, 64, 64)
    graph = task.trace()
    result = make_splitter("random", {"retention": 0.5}).split(task, graph=graph)
    assert result.masks.retention < 1
    module = extract_modules(graph, result, task.train.class_names, IMAGENET)[0]
    module.save(tmp_path / "module.safetensors")
    loaded = Module.load(tmp_path / "module.safetensors")
    with torch.no_grad():
        logits = module.network(batch)
        masked = masked_network(graph)(batch, result.masks.bits[:1].float())[0]
        assert torch.equal(loaded.network(batch), logits)
    assert float((masked - logits).abs().max()) < TOLERANCE * float(logits.abs().max())
