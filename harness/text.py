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
