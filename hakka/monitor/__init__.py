"""The prediction log, and the watch that compares it with what the model saw when it was accepted."""

from hakka.monitor.log import PredictionLog, read_log
from hakka.monitor.rows import SCHEMA, read_rows, row, write_rows

__all__ = ["SCHEMA", "PredictionLog", "read_log", "read_rows", "row", "write_rows"]
