from __future__ import annotations

import json
import math
from html import unescape
from typing import Any

import pytest

from harness.text import indented_json, latex_text, markdown_text, printable


@pytest.mark.parametrize(
    "value",
    [
        None, "ä", 0.1, [], {}, [1], {"a": 1}, [[]], [{}], {"a": {}}, (1, (2, "x")),
        [1, [2, [3, "é"]], {"k": [None, True]}],
        {"a": [1.5, 2], "b": {"c": [], "d": {"e": "\n\u2028"}}, "": "ü"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_indented_json_is_that_of_the_library(value: Any, ensure_ascii: bool) -> None:
    assert indented_json(value, ensure_ascii=ensure_ascii) == json.dumps(value, indent=2, ensure_ascii=ensure_ascii)


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        indented_json([{"a": math.nan}])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ours *new*", r"ours \*new*"),
        ("__init__", r"\_\_init__"),
        ("min_max 1/2*", "min_max 1/2*"),
        ("a|`b`", r"a\|\`b\`"),
        ("[fast] [x](http://y)", r"[fast] [x\](http://y)"),
        ("<img src=x>", "&lt;img src=x>"),
        ("&lt;", r"\&lt;"),
        ("$x_1$ ~~y~~", r"\$x_1\$ \~\~y\~~"),
        ("# a\nb", r"\# a\\nb"),
        ("1. first", r"1\. first"),
        ("12) x", r"12\) x"),
        ("---", r"\-\-\-"),
        ("[a]: http://y", r"[a\]: http://y"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text: str, shown: str) -> None:
    assert markdown_text(text) == shown
    markdown_it = pytest.importorskip("markdown_it")
    html = markdown_it.MarkdownIt("commonmark").enable("strikethrough").render(shown)
    assert unescape(html) == f"<p>{printable(text)}</p>\n"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a|b<c>d", "a$|$b$<$c$>$d"),
        ("x--y, ''", "x-{}-y, '{}'"),
        ('?` "q"', r"?\textasciigrave{} \char34{}q\char34{}"),
        ("Ångström ß", r"\r{A}ngstr\"{o}m \ss{}"),
        ("e\u0301", r"\'{e}"),
        ("λ=3 ≥ Σ", r"$\lambda$=3 $\ge$ $\Sigma$"),
        ("中", r"\ifdefined\Umathchar 中\else U+4E2D\fi{}"),
        ("-3.5", "$-$3.5"),
        ("*", "{*}"),
    ],
)
def test_latex_shows_every_character_with_any_engine_and_encoding(text: str, latex: str) -> None:
    assert latex_text(text) == latex
