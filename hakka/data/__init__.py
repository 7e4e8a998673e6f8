"""The data plane: photos and annotations in, a checked and versioned YOLO dataset out.

``convert.convert`` makes a dataset, ``dataset.load_dataset`` reads it, ``dataset.materialize`` lays it out for
training, ``fingerprint.fingerprint`` and ``versions.revision`` name the revision of the source.
"""

from hakka.data.dataset import Dataset, ImageEntry, load_dataset, materialize
from hakka.data.split import SplitParams

__all__ = ["Dataset", "ImageEntry", "SplitParams", "load_dataset", "materialize"]
