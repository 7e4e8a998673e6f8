"""The sample: photo-like table scenes composed from food cut-outs, with COCO annotations.

Every image is drawn from its own random stream, seeded by (seed, number), so the same seed gives the same bytes
whatever the number of images, and two seeds share no scene.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from hakka.data.backgrounds import check_family, draw_background, draw_plate
from hakka.errors import InvalidInput
from hakka.files import whole_folder

CUTOUTS = Path(__file__).resolve().parent / "cutouts"
SAMPLE_BACKGROUNDS = ("wood", "cloth", "marble", "slate")
JPEG_QUALITY = 82
LEAST_VISIBLE = 0.55  # a thing that is hidden further could not be named by a person either

Mask = npt.NDArray[np.bool_]
Coco = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Cutouts:
    """The cut-outs by class: RGBA pictures, cropped to what is visible."""

    names: tuple[str, ...]
    pictures: dict[str, tuple[Image.Image, ...]]


@dataclass(frozen=True)
class Scene:
    """One composed photo and what is in it: (class index, (left, top, width, height) in pixels)."""

    image: Image.Image
    objects: tuple[tuple[int, tuple[int, int, int, int]], ...]


def load_cutouts(folder: Path = CUTOUTS) -> Cutouts:
    """Every class folder of PNG cut-outs, classes in alphabetical order.

    Raises:
        InvalidInput: the folder holds no class.
    """
    pictures = {
        sub.name: tuple(Image.open(file).convert("RGBA") for file in sorted(sub.glob("*.png")))
        for sub in sorted(folder.iterdir())
        if sub.is_dir()
    }
    if not pictures:
        raise InvalidInput(f"{folder}: a cut-out folder must hold one folder of PNG files a class, found none")
    return Cutouts(tuple(pictures), pictures)


def draw_scene(
    cutouts: Cutouts, seed: int, number: int, size: int, backgrounds: Sequence[str] = SAMPLE_BACKGROUNDS
) -> Scene:
    """Scene ``number`` of ``seed``: ``size`` × ``size`` pixels, two to nine things on one of ``backgrounds``."""
    rng = np.random.default_rng([seed, number])
    canvas = draw_background(rng, str(rng.choice(list(backgrounds))), size)
    if rng.random() < 0.4:
        canvas = draw_plate(rng, canvas)
    placed: list[tuple[int, Mask]] = []
    for label in _choose_classes(rng, len(cutouts.names), number):
        canvas = _place(rng, canvas, cutouts, int(label), placed)
    objects = tuple((label, _mask_box(mask)) for label, mask in placed)
    return Scene(_photograph(rng, canvas), objects)


def write_sample(
    out: Path,
    *,
    images: int = 236,
    seed: int = 2026,
    size: int = 416,
    backgrounds: Sequence[str] = SAMPLE_BACKGROUNDS,
    faulty: bool = True,
) -> dict[str, int]:
    """Write ``images`` scenes, ``annotations.json`` (COCO) and ``SOURCE.md`` to ``out``, and spoil some if ``faulty``.

    Returns counts of image entries, annotations and classes. The folder is replaced whole.

    Raises:
        InvalidInput: ``images`` is under 8 (the faulty entries need some to spoil), ``size`` is not from 64 to 2048, a
            background is not known, or ``out`` holds something else.
    """
    if images < 8:
        raise InvalidInput(f"images: a sample has at least 8, got {images}")
    if not 64 <= size <= 2048:
        raise InvalidInput(f"size: an image side is 64 to 2048 pixels, got {size}")
    for family in backgrounds:
        check_family(family)
    if out.exists() and not (out / "SOURCE.md").is_file() and any(out.iterdir()):
        raise InvalidInput(f"{out}: the folder holds other files; name a new folder, or one that `hakka sample` wrote")
    cutouts = load_cutouts()
    with whole_folder(out) as folder:
        coco = write_scenes(folder, cutouts, range(images), seed=seed, size=size, backgrounds=backgrounds)
        faults = _add_faults(folder, coco, size) if faulty else []
        (folder / "annotations.json").write_text(json.dumps(coco, separators=(",", ":")) + "\n")
        (folder / "SOURCE.md").write_text(_source_text(images, seed, size, backgrounds, faults))
    return {
        "images": len(coco["images"]),
        "annotations": len(coco["annotations"]),
        "classes": len(cutouts.names),
    }


def write_scenes(
    folder: Path,
    cutouts: Cutouts,
    numbers: Iterable[int],
    *,
    seed: int,
    size: int,
    backgrounds: Sequence[str] = SAMPLE_BACKGROUNDS,
) -> Coco:
    """Write the scenes as JPEG under ``folder``/images and give their COCO annotations."""
    (folder / "images").mkdir(parents=True)
    coco: Coco = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(cutouts.names)],
    }
    for number in numbers:
        scene = draw_scene(cutouts, seed, number, size, backgrounds)
        name = f"scene_{number:04d}.jpg"
        scene.image.save(folder / "images" / name, quality=JPEG_QUALITY)
        _add_entry(coco, f"images/{name}", size, scene.objects)
    return coco


def _add_entry(
    coco: Coco,
    file_name: str,
    size: int,
    objects: Iterable[tuple[int, tuple[float, float, float, float]]],
) -> None:
    image_id = len(coco["images"]) + 1
    coco["images"].append({"id": image_id, "file_name": file_name, "width": size, "height": size})
    for label, box in objects:
        coco["annotations"].append(
            {
                "id": len(coco["annotations"]) + 1,
                "image_id": image_id,
                "category_id": label + 1,
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
        )


def _choose_classes(rng: np.random.Generator, classes: int, number: int) -> list[int]:
    """Things of one scene; the first class goes round by number, so every class turns up equally often."""
    count = int(rng.integers(2, 8))
    chosen = [number % classes, *rng.integers(0, classes, count - 1).tolist()]
    if rng.random() < 0.3:
        chosen += [chosen[0]] * int(rng.integers(1, 3))
    return chosen


def _place(
    rng: np.random.Generator, canvas: Image.Image, cutouts: Cutouts, label: int, placed: list[tuple[int, Mask]]
) -> Image.Image:
    """Lay one thing on the canvas where it hides no other too far; after some tries it is left out."""
    picture = _vary(rng, cutouts.pictures[cutouts.names[label]], canvas.width)
    for _ in range(12):
        margin = int(0.12 * min(picture.size))
        left = int(rng.integers(-margin, max(canvas.width - picture.width + margin, 1)))
        top = int(rng.integers(-margin, max(canvas.height - picture.height + margin, 1)))
        layer = Image.new("RGBA", canvas.size)
        layer.paste(picture, (left, top))
        mask = np.asarray(layer.getchannel("A")) > 127
        if not mask.any() or any((old & ~mask).sum() < LEAST_VISIBLE * old.sum() for _, old in placed):
            continue
        for i, (other, old) in enumerate(placed):
            placed[i] = (other, old & ~mask)
        placed.append((label, mask))
        return _paste_with_shadow(rng, canvas, layer)
    return canvas


def _vary(rng: np.random.Generator, pictures: Sequence[Image.Image], canvas_size: int) -> Image.Image:
    """One of the class's pictures at a random scale, mirror, angle, light and colour."""
    picture = pictures[int(rng.integers(len(pictures)))]
    longest = canvas_size * float(rng.uniform(0.14, 0.36))
    scale = longest / max(picture.size)
    size = (max(int(picture.width * scale), 4), max(int(picture.height * scale), 4))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = picture.rotate(float(rng.uniform(0, 360)), Image.Resampling.BICUBIC, expand=True)
    alpha = picture.getchannel("A")
    colour = picture.convert("RGB")
    for enhance, spread in (
        (ImageEnhance.Brightness, 0.25),
        (ImageEnhance.Contrast, 0.2),
        (ImageEnhance.Color, 0.25),
    ):
        colour = enhance(colour).enhance(float(rng.uniform(1 - spread, 1 + spread)))
    colour.putalpha(alpha)
    return colour.crop(alpha.getbbox() or (0, 0, 1, 1))


def _paste_with_shadow(rng: np.random.Generator, canvas: Image.Image, layer: Image.Image) -> Image.Image:
    alpha = layer.getchannel("A")
    shift = (int(rng.integers(-7, 8)), int(rng.integers(2, 9)))
    shadow = ImageChops.offset(alpha, *shift).filter(ImageFilter.GaussianBlur(float(rng.uniform(2, 6))))
    shadow = shadow.point([int(v * float(rng.uniform(0.3, 0.6))) for v in range(256)])
    canvas = Image.composite(Image.new("RGB", canvas.size, (12, 10, 8)), canvas, shadow)
    return Image.composite(layer.convert("RGB"), canvas, alpha)


def _photograph(rng: np.random.Generator, canvas: Image.Image) -> Image.Image:
    """What a camera does to the scene: uneven warm or cold light, a little blur, sensor noise."""
    size = canvas.width
    corners = rng.uniform(0.72, 1.12, (2, 2)).astype(np.float32)
    light = np.asarray(Image.fromarray(corners).resize((size, size), Image.Resampling.BILINEAR))[..., None]
    tint = rng.uniform(0.93, 1.07, 3).astype(np.float32)
    blurred = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.1))))
    noise = rng.normal(0, float(rng.uniform(0.5, 3.0)), (size, size, 1)).astype(np.float32)
    pixels = np.asarray(blurred, dtype=np.float32) * light * tint + noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _mask_box(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def _add_faults(folder: Path, coco: Coco, size: int) -> list[str]:
    """Spoil the set on purpose, so that conversion and validation have something to say; returns what was done."""
    images = folder / "images"
    annotations = coco["annotations"]

    def add_box(image_id: int, box: list[float]) -> None:
        annotations.append(
            {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "bbox": box, "area": 0, "iscrowd": 0}
        )

    add_box(3, [size - 40, size - 30, 120, 90])
    add_box(5, [size + 20, 10, 50, 50])
    add_box(6, [100, 100, 0, 25])
    add_box(999_999, [10, 10, 50, 50])

    whole = (images / "scene_0001.jpg").read_bytes()
    (images / "faulty_truncated.jpg").write_bytes(whole[: len(whole) // 2])
    _add_entry(coco, "images/faulty_truncated.jpg", size, [(0, (50, 50, 60, 60))])

    shutil.copyfile(images / "scene_0002.jpg", images / "faulty_duplicate.jpg")
    twins = [a for a in annotations if a["image_id"] == 3][:-1]
    _add_entry(coco, "images/faulty_duplicate.jpg", size, [(a["category_id"] - 1, tuple(a["bbox"])) for a in twins])

    _add_entry(coco, "images/faulty_missing.jpg", size, [(1, (20, 20, 80, 80))])
    flat = BytesIO()
    Image.new("RGB", (size, size), (127, 127, 127)).save(flat, "PNG")
    (images / "faulty_png_named.jpg").write_bytes(flat.getvalue())
    _add_entry(coco, "images/faulty_png_named.jpg", size, [])
    return [
        "images/scene_0002.jpg: one box reaches out of the frame (it is clipped)",
        "images/scene_0004.jpg: one box lies outside the frame (it is refused)",
        "images/scene_0005.jpg: one box has no width (it is refused)",
        "annotation of image_id 999999: a label without an image (it is refused)",
        "images/faulty_truncated.jpg: the second half of the file is missing (the image and its box are refused)",
        "images/faulty_duplicate.jpg: the same bytes as images/scene_0002.jpg (it is refused)",
        "images/faulty_missing.jpg: named in the annotations, not there (the entry and its box are refused)",
        "images/faulty_png_named.jpg: a flat grey PNG with the ending .jpg and without boxes (reported)",
    ]


def _source_text(images: int, seed: int, size: int, backgrounds: Sequence[str], faults: Sequence[str]) -> str:
    lines = "\n".join(f"- {fault}" for fault in faults) or "Nothing."
    command = f"hakka sample --images {images} --seed {seed} --size {size}" + ("" if faults else " --clean")
    if tuple(backgrounds) != SAMPLE_BACKGROUNDS:
        command += f" --backgrounds {','.join(backgrounds)}"
    cutouts = (CUTOUTS / "SOURCE.md").read_text().partition("\n")[2].strip()
    return f"""# The sample

{images} composed scenes of {size} × {size} pixels with {len(load_cutouts().names)} ingredient classes, in COCO
(annotations.json). They look like photos and are none: photographic cut-outs over drawn backgrounds, with scale,
rotation, light, shadow, overlap, blur and noise. Made by this command; the same call gives the same bytes:

    {command}

## Faulty on purpose
{lines}

## Where the cut-outs come from
{cutouts}
"""
