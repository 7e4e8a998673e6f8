"""The steps of Hakka's pipelines: a signature, an image and a call into ``hakka`` each."""

from components.data import (
    accept_dataset,
    convert_annotations,
    list_images,
    prepare_data,
    scan_images,
    validate_dataset,
)
from components.detector import (
    choose_variant,
    evaluate_champion,
    evaluate_detector,
    export_detector,
    plan_variants,
    search_variants,
    train_detector,
)
from components.release import decide_promotion, deploy_model, keep_champion, promote_model
from components.tracking import track_run

__all__ = [
    "accept_dataset",
    "choose_variant",
    "convert_annotations",
    "decide_promotion",
    "deploy_model",
    "evaluate_champion",
    "evaluate_detector",
    "export_detector",
    "keep_champion",
    "list_images",
    "plan_variants",
    "prepare_data",
    "promote_model",
    "scan_images",
    "search_variants",
    "track_run",
    "train_detector",
    "validate_dataset",
]
