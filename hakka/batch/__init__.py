"""Many photos to one file of detections, in this process, on all cores."""

from hakka.batch.photos import find_photos, is_batch
from hakka.batch.predict import Summary, predict_photos

__all__ = ["Summary", "find_photos", "is_batch", "predict_photos"]
