"""The predictor: a KServe model server around ``hakka.detector.runtime``. ``python -m serving`` starts it."""
