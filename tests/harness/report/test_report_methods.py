from __future__ import annotations

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
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
