from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from harness.report.data import spread
from harness.report.methods import DARK, LIGHT, Methods, gradient, with_colours, with_legends
from splitters.methods.protocol import SPLITTERS

_AA_GRAPHICS, _AA_TEXT = 3.0, 4.5


def test_a_method_has_the_same_colour_and_shape_in_every_report() -> None:
    few, many = Methods(["gradsplitter", "mine"]), Methods([*SPLITTERS, "mine", "other"])
    for name in ("gradsplitter", "mine"):
        assert few.colour(name) == many.colour(name)
        assert few.shapes([name])["scale"]["range"] == many.shapes([name])["scale"]["range"]


def test_many_methods_are_told_apart_by_colour_and_shape_together() -> None:
    methods = Methods([f"m{n}" for n in range(40)])
    looks = zip(
        methods.colours(methods.names)["scale"]["range"], methods.shapes(methods.names)["scale"]["range"], strict=True
    )
    assert len(set(looks)) == 40


def test_colours_stand_out_from_both_pages() -> None:
    for palette in (LIGHT, DARK):
        for name, colour in palette.items():
            if name.startswith("series"):
                assert _contrast(colour, palette["paper"]) >= _AA_GRAPHICS, name
        for name in ("text", "muted", "series-1"):
            assert _contrast(palette[name], palette["paper"]) >= _AA_TEXT, name


_VISION = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
"""Linear RGB as it is seen without one kind of cones (Machado and others, 2009)."""

_TO_CONES = ((0.41222, 0.53633, 0.05145), (0.21190, 0.68070, 0.10740), (0.08830, 0.28172, 0.62998))
_TO_LAB = ((0.21045, 0.79362, -0.00407), (1.97800, -2.42859, 0.45059), (0.02590, 0.78277, -0.80868))


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("vision", "least"), [("normal", 0.14), ("protan", 0.07), ("deutan", 0.07)])
def test_colours_stay_apart_for_colour_blind_readers(palette: Mapping[str, str], vision: str, least: float) -> None:
    def seen(colour: str) -> np.ndarray:
        cones = np.cbrt(np.clip(np.array(_VISION[vision]) @ _linear(colour), 0, 1) @ np.array(_TO_CONES).T)
        lab: np.ndarray = np.array(_TO_LAB) @ cones
        return lab

    series = {name: seen(colour) for name, colour in palette.items() if name.startswith("series")}
    assert len(series) == 10
    for one, other in itertools.combinations(series, 2):
        assert np.linalg.norm(series[one] - series[other]) >= least, (one, other)


def test_files_without_style_sheets_have_the_colours_themselves() -> None:
    assert with_colours('{"color": "var(--series-1)"}') == f'{{"color": "{LIGHT["series-1"]}"}}'


def test_legends_break_where_there_is_no_room() -> None:
    spec = {"encoding": {"color": {"legend": {"columns": 100}}}, "layer": [{"columns": 1000}]}
    assert with_legends(spec, 350) == {"encoding": {"color": {"legend": {"columns": 3}}}, "layer": [{"columns": 1}]}


def test_a_gradient_has_its_ends_and_what_lies_between() -> None:
    assert gradient(["#000000", "#ff0000", "#ff00ff"], 5) == ["#000000", "#800000", "#ff0000", "#ff0080", "#ff00ff"]
    assert gradient(["#000000", "#ff0000"], 1) == ["#000000"]


def test_a_sample_has_both_ends() -> None:
    assert spread(range(100), 4) == [0, 33, 66, 99]
    assert spread([1, 2], 4) == [1, 2]


def _contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    linear = _linear(colour)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _linear(colour: str) -> list[float]:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
