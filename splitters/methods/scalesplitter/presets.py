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
    # 960 mask steps: the fewest kernels.
    "thorough": {"rounds": 12, "mask_phase": "80 steps", "tune_phase": "30 steps", "final_phase": "240 steps"},
}
"""Presets by name; settings that one leaves out take their defaults."""
