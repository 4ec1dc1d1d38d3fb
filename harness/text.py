"""Text that came from elsewhere (names, reasons, paths), made safe to show."""

from __future__ import annotations

import unicodedata

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
