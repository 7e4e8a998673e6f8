"""What was found: the photo with its boxes and the list that the cook can correct."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import streamlit as st
from PIL import Image

from app.text import plain, spoken
from hakka.drawing import class_colour, draw_detections
from hakka.endpoint import Detection, Prediction

ROW = (1, 1)  # widths of the list's two columns


@dataclass(frozen=True)
class Find:
    """One ingredient in the photo: how many boxes have its name and how sure the surest is (0–1)."""

    name: str
    count: int
    confidence: float


def group_by_name(detections: Iterable[Detection]) -> list[Find]:
    """One find for each class name, the surest first."""
    scores: dict[str, list[float]] = {}
    for detection in detections:
        scores.setdefault(detection.name, []).append(detection.confidence)
    finds = [Find(name, len(values), max(values)) for name, values in scores.items()]
    return sorted(finds, key=lambda find: (-find.confidence, find.name))


def draw_photo(image: Image.Image, prediction: Prediction, detections: Sequence[Detection]) -> Image.Image:
    """``image`` with boxes; it may be smaller than the photo whose pixels the boxes are in."""
    x, y = image.width / prediction.width, image.height / prediction.height
    boxes = [(d.box[0] * x, d.box[1] * y, d.box[2] * x, d.box[3] * y) for d in detections]
    return draw_detections(image, boxes, [d.name for d in detections], [d.confidence for d in detections])


def show_finds(image: Image.Image, prediction: Prediction, digest: str, default: float) -> dict[str, float]:
    """Show photo, slider and list; return the confidence of each ingredient that the cook left ticked."""
    photo, side = st.columns([3, 2], gap="large")
    with side:
        st.subheader("What Hakka sees")
        least = st.slider(
            "Show finds that are at least this sure", 5, 95, _percent(default), 1, format="%d%%", key="least"
        )
        sure = [d for d in prediction.detections if d.confidence >= least / 100]
        kept = _show_list(group_by_name(sure), digest)
        _show_count(len(sure), len(prediction.detections))
    with photo:
        drawn = draw_photo(image, prediction, [d for d in sure if d.name in kept])
        st.image(drawn, width="stretch", output_format="JPEG", alt="Your photo with the ingredients that were found")
    return kept


def _percent(default: float) -> int:
    """The model's threshold as a place on the slider."""
    return min(max(round(default * 100), 5), 95)


def _show_list(finds: Sequence[Find], digest: str) -> dict[str, float]:
    """One row a find: a tick to take it or leave it, and its confidence. Ticks survive a move of the slider."""
    left_out: set[str] = st.session_state.setdefault(f"left out {digest}", set())
    kept = {}
    with st.container(gap="xxsmall", key="finds"):
        _show_row_heads()
        for find in finds:
            tick, bar = st.columns(ROW, vertical_alignment="center", wrap=False)
            times = f" × {find.count}" if find.count > 1 else ""
            label = f"{plain(spoken(find.name))}{times}"
            if tick.checkbox(label, value=find.name not in left_out, key=f"find {digest[:12]} {find.name}"):
                left_out.discard(find.name)
                kept[find.name] = find.confidence
            else:
                left_out.add(find.name)
            bar.html(_confidence_bar(find))
    return kept


def _show_row_heads() -> None:
    for column, head in zip(st.columns(ROW, wrap=False), ("Ingredient", "How sure"), strict=True):
        column.caption(head)


def _confidence_bar(find: Find) -> str:
    colour = "rgb({}, {}, {})".format(*class_colour(find.name))
    percent = f"{find.confidence:.0%}"
    return (
        f'<div role="img" aria-label="{html.escape(spoken(find.name))}: {percent} sure" '
        'style="display:flex;align-items:center;gap:.6rem">'
        '<div style="flex:1;height:.5rem;border-radius:.25rem;background:#efe6d8">'
        f'<div style="width:{percent};height:100%;border-radius:.25rem;background:{colour}"></div></div>'
        f'<span style="width:2.8rem;text-align:right;font-variant-numeric:tabular-nums">{percent}</span></div>'
    )


def _show_count(shown: int, found: int) -> None:
    if not found:
        st.info("Nothing was found in this photo. Add what you have below.")
    elif not shown:
        st.info("No find is that sure. Move the slider to the left, or add what you have below.")
    else:
        st.caption(f"{shown} of {found} finds are shown. Untick what is wrong.")
