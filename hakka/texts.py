"""Foreign text and values in sentences: escaped where they would be obeyed, shortened, counted."""

import reprlib
from typing import Any, TypeGuard


def printable(text: str) -> str:
    """``text`` with whatever UTF-8 cannot hold (odd bytes of file names, lone surrogates) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def visible(text: str) -> str:
    """``text`` for a page or a terminal: what is obeyed there instead of shown is written as an escape.

    That is what a terminal takes for an order or the end of a line, and Unicode's marks of direction, which let the
    text around them read as another one. Joiners are left alone: emoji and whole scripts need them.
    """
    return printable(text).translate(_OBEYED)


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun in the right form: ``1 photo``, ``2 photos``, ``2 boxes`` (where ``many`` says so)."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def short(value: Any) -> str:
    """A foreign value as at most about 60 characters, however long or deep it is."""
    try:
        return printable(_SHORT.repr(value))
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"


def is_text(value: Any) -> TypeGuard[str]:
    """True for a string that a UTF-8 file can hold."""
    return isinstance(value, str) and printable(value) == value


_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)  # C0, DEL, C1, separators of lines and paragraphs
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))  # Bidi_Control of Unicode
_OBEYED = {code: ascii(chr(code))[1:-1] for code in (*_CONTROLS, *_DIRECTIONS)}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlevel = 3
