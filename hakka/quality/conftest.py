"""Loads the suite for a plain ``pytest --dataset=DATASET hakka/quality``."""

pytest_plugins = ("hakka.quality.plugin",)
