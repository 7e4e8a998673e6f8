"""Hakka: food photos in, recipes out, and everything that keeps the detector between them good."""

__version__ = "0.1.0"
