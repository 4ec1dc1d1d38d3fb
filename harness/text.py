"""Text that came from elsewhere (names, reasons, paths), made safe to show; and values as JSON."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any

_MARKDOWN = re.compile(
    r"[\\`|$]|[*~](?=\S)|^[*#+>-](?=\s)|^\d+[.)](?=\s)|^-{3,}$"
    r"|(?<![^\W_])_+(?=[^\s_])|\](?=[(\[:])|&(?=#?\w+;)"
)
"""What Markdown would interpret. Brackets alone, or an underscore within a word, it shows as they are."""

_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def counted(number: int, noun: str) -> str:
    """Return a number of things in words that fit it: ``1 cell``, ``2 cells``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def printable(text: object, *, keep: str = "") -> str:
    r"""Return a text in one line, with everything invisible escaped: control characters, bidirectional overrides.

    Args:
        text: What to show.
        keep: Characters to leave as they are, for instance ``"\n"`` for a text of several lines.
    """
    return "".join(
        character if character in keep or not _is_invisible(character) else _escaped(character)
        for character in str(text)
    )


def _is_invisible(character: str) -> bool:
    # Cc: controls, ESC among them. Cf: format characters, which turn the direction of text. Cs: lone surrogates.
    # Zl and Zp: line and paragraph separators. The zero-width joiner belongs to emoji and to Indic scripts.
    return character != "\u200d" and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _escaped(character: str) -> str:
    code = ord(character)
    return _ESCAPES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def markdown_text(text: object) -> str:
    """Return a text in one line that Markdown shows as it is."""
    escaped = _MARKDOWN.sub(lambda match: re.sub(r"([^\da-zA-Z])", r"\\\1", match[0]), printable(text))
    return escaped.replace("<", "&lt;")


def _greek_command(letter: str) -> str:
    _, case, _, name = unicodedata.name(letter).replace("LAMDA", "LAMBDA").split()
    return f"$\\{name.capitalize() if case == 'CAPITAL' else name.lower()}$"


_LATEX = {**{character: f"\\{character}" for character in "&%$#_{}"}, "\\": r"\textbackslash{}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}", '"': r"\char34{}"}
# After a line's end, \\, a bracket would be read as the distance to the next line.
_LATEX |= {"[": "{[}", "]": "{]}"}
# Fonts in the default encoding have other characters in the places of these.
_LATEX |= {"<": "$<$", ">": "$>$", "|": "$|$"}
_LATEX |= {"±": r"$\pm$", "·": r"$\cdot$", "×": r"$\times$", "−": "$-$", "–": "--", "²": "$^2$", "³": "$^3$"}
_LATEX |= {"≤": r"$\le$", "≥": r"$\ge$", "≠": r"$\ne$", "≈": r"$\approx$", "∞": r"$\infty$", "√": r"$\surd$"}
_LATEX |= {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "←": r"$\leftarrow$", "→": r"$\rightarrow$"}
_LATEX |= {"ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}"}
_LATEX |= {"—": "---", "‘": r"\textquoteleft{}", "’": r"\textquoteright{}", "“": r"\textquotedblleft{}"}
_LATEX |= {"”": r"\textquotedblright{}", "…": r"\dots{}", "•": r"\textbullet{}", "µ": r"$\mu$", "\u00a0": "~"}
_LATEX |= {letter: _greek_command(letter) for letter in "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ"}

_COMBINING = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0323\u0327"
_ACCENTS = dict(zip(_COMBINING, "`'^~=u.\"rHvdc", strict=True))
"""Commands of LaTeX by combining character."""

_LATEX_READY = frozenset("¡¿§¶©®°†‡‰€™")
"""Further characters that every engine and encoding shows."""


def latex_text(text: object) -> str:
    """Return a text in one line that LaTeX shows as it is, whatever the engine and the encoding of its fonts.

    Characters that only XeTeX and LuaTeX can show, such as Chinese, become their code points elsewhere.
    """
    shown = unicodedata.normalize("NFC", printable(text))
    escaped = re.sub(r"--+|''+|,,+|.", lambda match: _latex_part(match[0]), shown)
    if re.fullmatch(r"-\d.*", escaped):
        return f"$-${escaped[1:]}"  # a minus, which is wider than a hyphen
    # A star would be read as part of the command before it.
    return f"{{*}}{escaped[1:]}" if escaped.startswith("*") else escaped


def _latex_part(part: str) -> str:
    """Return a character, or a run of one that TeX would join to another character."""
    if len(part) > 1:
        return "{}".join(part)
    if part in _LATEX:
        return _LATEX[part]
    if part.isascii() or part in _LATEX_READY:
        return part
    decomposed = unicodedata.normalize("NFD", part)
    letter, accent = decomposed[0], decomposed[1:]
    if letter.isascii() and accent in _ACCENTS:
        return f"\\{_ACCENTS[accent]}{{{letter}}}"
    return rf"\ifdefined\Umathchar {part}\else U+{ord(part):04X}\fi{{}}"


def indented_json(value: Any, *, ensure_ascii: bool = False) -> str:
    """Return what ``json.dumps(value, indent=2, allow_nan=False)`` returns, several times as fast.

    With an indent, ``json`` leaves its compiled encoder; here it still writes every list and object of plain values.

    Args:
        value: Objects with texts as keys, lists, and plain values.
        ensure_ascii: Whether to escape all other characters.
    """
    return _indented(value, "\n", ensure_ascii)


def _indented(value: Any, line: str, ensure_ascii: bool) -> str:
    """Return a value as JSON whose lines begin like ``line``, a line break with spaces."""
    is_object = isinstance(value, dict)
    members = value.values() if is_object else value if isinstance(value, list | tuple) else ()
    if not members:
        return _encoder(line, ensure_ascii).encode(value)
    inner = f"{line}  "
    if not any(issubclass(kind, dict | list | tuple) for kind in set(map(type, members))):
        text = _encoder(inner, ensure_ascii).encode(value)
        return f"{text[0]}{inner}{text[1:-1]}{line}{text[-1]}"
    texts: Iterable[str] = (_indented(member, inner, ensure_ascii) for member in members)
    if is_object:
        encoder = _encoder(inner, ensure_ascii)
        texts = (f"{encoder.encode(key)}: {text}" for key, text in zip(value, texts, strict=True))
    opening, closing = "{}" if is_object else "[]"
    return f"{opening}{inner}{f',{inner}'.join(texts)}{line}{closing}"


@cache
def _encoder(line: str, ensure_ascii: bool) -> json.JSONEncoder:
    return json.JSONEncoder(ensure_ascii=ensure_ascii, allow_nan=False, separators=(f",{line}", ": "))
