"""ScaleSplitter's presets: complete schedules, by how long they take."""

from __future__ import annotations

from collections.abc import Mapping

PRESETS: Mapping[str, Mapping[str, object]] = {
    # 240 mask steps, as GradSplitter's: a first try, in seconds to a minute.
    "fast": {
        "rounds": 8,
        "mask_phase": "30 steps",
        "tune_phase": "15 steps",
        "final_phase": "100 steps",
        "tolerance": 0.03,
    },
    # 2,400 mask steps, as the suite cifar-cpu: minutes to an hour on a CPU, for nets and images of CIFAR-10's size.
    "small": {
        "alpha": 0.7,
        "distillation": 1.0,
        "rounds": 30,
        "mask_phase": "80 steps",
        "tune_phase": "40 steps",
        "final_phase": "300 steps",
        "mask_learning_rate": 0.03,
        "batch_size": 32,
        "tolerance": 0.03,
    },
    # 960 mask steps: the fewest kernels of nets and images as small as digits.
    "thorough": {"rounds": 12, "mask_phase": "80 steps", "tune_phase": "30 steps", "final_phase": "240 steps"},
}
"""Presets by name; settings that one leaves out take their defaults."""
