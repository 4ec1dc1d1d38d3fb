"""GradSplitter's presets: complete schedules, by how long they take."""

from __future__ import annotations

from collections.abc import Mapping

PRESETS: Mapping[str, Mapping[str, object]] = {
    # The paper's schedule and method (arXiv 2311.04438): hours, for thousands of images.
    "paper": {
        "alpha": 0.1,
        "rounds": 20,
        "warmup": "5 epochs",
        "mask_phase": "5 epochs",
        "head_phase": "2 epochs",
        "warmup_learning_rate": 0.01,
        "mask_learning_rate": 0.001,
        "head_learning_rate": 0.001,
        "batch_size": 64,
        "tolerance": 0.01,
        "rescue": False,
    },
    # 500 mask steps, as the suite cifar-cpu: minutes on a CPU, for nets and images of CIFAR-10's size.
    "small": {
        "alpha": 0.5,
        "rounds": 5,
        "warmup": "200 steps",
        "mask_phase": "100 steps",
        "head_phase": "60 steps",
        "mask_learning_rate": 0.03,
        "head_learning_rate": 0.01,
        "tolerance": 0.03,
    },
    # 240 mask steps, as the suite quick: a first try, in seconds to a minute.
    "fast": {
        "alpha": 0.7,
        "rounds": 4,
        "warmup": "40 steps",
        "mask_phase": "60 steps",
        "head_phase": "20 steps",
        "mask_learning_rate": 0.05,
        "head_learning_rate": 0.01,
        "batch_size": 16,
        "tolerance": 0.03,
    },
}
"""Presets by name; settings that one leaves out take their defaults."""
