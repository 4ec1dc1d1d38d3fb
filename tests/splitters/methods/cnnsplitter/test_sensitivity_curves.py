"""Sensitivity curves against a plain version that cuts out and runs each module."""

import dataclasses

import pytest
import torch

from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.cnnsplitter.sensitivity_curves import measure_curves
from splitters.modules.calibration import NoCalibration
from splitters.networks.extraction import extract_network
from splitters.networks.inference import network_logits
from splitters.networks.shared_forward import SharedForward
from splitters.testing import TinyNet, tiny_task

_SHARES = (0.1, 0.3, 0.5, 0.9, 1.0)


@pytest.fixture(scope="module")
def measured():
    images = tiny_task().select
    torch.manual_seed(3)
    graph = ChannelGraph.trace(TinyNet().eval(), images.normalisation(images.images[:2]))
    # The labels are the network's own answers, so that every kernel that is dropped may cost something.
    images = dataclasses.replace(images, labels=network_logits(graph.network, images).argmax(1))
    importance = torch.rand(3, graph.layout.n_channels, generator=torch.Generator().manual_seed(5))
    forward = SharedForward(graph, batch_size=7, memory_bytes=1 << 20)

    def curves(done=0):
        return list(
            measure_curves(
                forward, graph.layout, importance, images, calibration=NoCalibration(), shares=_SHARES, done=done
            )
        )

    return graph, importance, images, curves


def plain_curve(graph, importance, images, channels):
    curve = []
    for share in _SHARES:
        columns = []
        for c in range(3):
            bits = torch.ones(graph.layout.n_channels, dtype=torch.bool)
            ordered = sorted(channels, key=lambda channel: -float(importance[c, channel]))
            bits[ordered[max(1, round(share * len(channels))) :]] = False
            columns.append(network_logits(extract_network(graph, bits), images)[:, c])
        curve.append(float((torch.stack(columns, 1).argmax(1) == images.labels).double().mean()))
    return curve


def test_each_curve_is_the_composed_accuracy_of_modules_that_keep_the_top_kernels_of_one_layer(measured):
    graph, importance, images, curves = measured
    found = curves()
    expected = [plain_curve(graph, importance, images, group.channels) for group in graph.layout.groups]
    assert found == [pytest.approx(curve) for curve in expected]
    assert all(curve[-1] == 1 for curve in found)
    assert min(min(curve) for curve in found) < 0.9, "no curve falls, so this test tells nothing"


def test_curves_that_are_done_are_not_measured_again(measured):
    *_, curves = measured
    assert curves(done=1) == curves()[1:]
