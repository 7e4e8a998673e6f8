"""Words on the page."""

import re

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")


def plain(text: str) -> str:
    """Text that Streamlit's Markdown shows as it stands: no emphasis, formulas, colours or links."""
    return _MARKDOWN.sub(r"\\\1", text)


def spoken(name: str) -> str:
    """A class or ingredient id as a person writes it: ``bell_pepper`` is ``Bell pepper``."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
