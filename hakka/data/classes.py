"""Class names made one: ``classes.yaml`` maps aliases and typos to canonical names, merges classes and drops others."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from hakka.boxes import Array
from hakka.data.findings import Finding, Kind
from hakka.data.formats.annotations import Annotations, SourceImage
from hakka.data.name_advice import Adviser
from hakka.errors import InvalidInput
from hakka.strict_yaml import RepeatedKey, load_yaml
from hakka.texts import counted, is_text, short

CLASSES_FILE = "classes.yaml"
MOST_BYTES = 256 * 1024  # about 10,000 names; the YAML parser needs two seconds for so many
_KEYS = ("classes", "drop", "unmapped", "attribute")
_SHOWN = 5  # names in a note about many
_DROPPED = ""  # no class has this name


@dataclass(frozen=True)
class ClassMap:
    """What ``classes.yaml`` says. ``aliases`` holds every name that is written there, the canonical ones too.

    ``names`` are the canonical names in the file's order, ``drop`` the names whose boxes are left out, ``unmapped``
    what happens to a class that the file does not know, ``attribute`` that of VIA regions which is their class (None:
    the reader chooses). ``file`` is for messages.
    """

    file: str
    names: tuple[str, ...]
    aliases: Mapping[str, str]
    drop: frozenset[str] = frozenset()
    unmapped: Literal["keep", "refuse"] = "keep"
    attribute: str | None = None


def find_class_map(source: Path) -> Path | None:
    """``classes.yaml`` (or ``classes.yml``) at the top of a source folder, if there is one."""
    files = (source / name for name in (CLASSES_FILE, "classes.yml"))
    return next((file for file in files if file.is_file()), None)


def read_class_map(path: Path) -> ClassMap:
    """The class map of a YAML file (the README says how it is written).

    Raises:
        InvalidInput: the file is missing, too large or no YAML, or names contradict each other.
    """
    content = _read_yaml(Path(path))
    if not isinstance(content, dict) or not content.keys() <= set(_KEYS):
        raise InvalidInput(f"{path}: must be a mapping with the keys {', '.join(_KEYS)}, got {short(content)}")
    classes = content.get("classes") or {}
    if not isinstance(classes, dict):
        raise InvalidInput(f"{path}: classes must be a mapping of names to their aliases, got {short(classes)}")
    drop = _texts(content.get("drop"), f"{path}: drop")
    unmapped = content.get("unmapped", "keep")
    if unmapped not in ("keep", "refuse"):
        raise InvalidInput(f"{path}: unmapped must be keep or refuse, got {short(unmapped)}")
    _texts(list(classes), f"{path}: classes")
    aliases = _collect_aliases(path, classes)
    for name in drop:
        if name in aliases:
            raise InvalidInput(f"{path}: {short(name)} is dropped and also a name of {short(aliases[name])}")
    attribute = content.get("attribute")
    if attribute is not None:
        _texts([attribute], f"{path}: attribute")
    if not aliases and not drop and (attribute is None or unmapped == "refuse"):
        raise InvalidInput(f"{path}: names no class: needs classes or drop")
    return ClassMap(str(path), tuple(classes), aliases, frozenset(drop), unmapped, attribute)


def apply_class_map(annotations: Annotations, class_map: ClassMap | None) -> Annotations:
    """The annotations under canonical class names, in the map's order, then the unmapped ones in the source's order.

    Boxes of dropped (and, if the map says so, of unmapped) classes become findings; whatever was guessed, kept as it
    was or is no ingredient is said in a note. Without a map, or with one that names no class, the names stay as they
    are and only the notes are added.
    """
    if class_map is None or not (class_map.aliases or class_map.drop):
        advice = Adviser(annotations.names).notes(_count_boxes(annotations))
        return replace(annotations, findings=annotations.findings + tuple(map(_note, advice)))
    matcher = _Matcher(annotations.names, class_map, _count_boxes(annotations))
    targets, reasons = matcher.match()
    chosen = set(targets.values())
    names = [name for name in class_map.names if name in chosen]
    names += [name for name in dict.fromkeys(targets.values()) if name not in class_map.aliases and name != _DROPPED]
    places = {name: i for i, name in enumerate(names)}
    table = np.array([places.get(targets[name], -1) for name in annotations.names], dtype=np.intp)
    images, left_out = _relabel(annotations, table, reasons, Path(class_map.file).name)
    result = replace(annotations, names=tuple(names), images=images)
    advice = Adviser([name for name in class_map.names if name in chosen]).notes(_count_boxes(result))
    notes = map(_note, (*matcher.notes, *advice))
    return replace(result, findings=(*annotations.findings, *notes, *left_out))


def _count_boxes(annotations: Annotations) -> dict[str, int]:
    """Class name → boxes."""
    labels = np.concatenate([np.zeros((0, 5)), *(image.boxes for image in annotations.images)])[:, 0].astype(np.intp)
    return dict(zip(annotations.names, np.bincount(labels, minlength=len(annotations.names)).tolist(), strict=True))


def _note(text: str) -> Finding:
    return Finding("note", None, None, text)


class _Matcher:
    """Which class of the source is which class of the map, and what there is to say about it."""

    def __init__(self, names: Sequence[str], class_map: ClassMap, boxes: Mapping[str, int]) -> None:
        self.names = names
        self.boxes = boxes
        self.map = class_map
        self.notes: list[str] = []
        self.exact = {**class_map.aliases, **dict.fromkeys(class_map.drop, _DROPPED)}
        self.similar: dict[str, set[str]] = {}
        for name, target in self.exact.items():
            self.similar.setdefault(normalise(name), set()).add(target)
        self.adviser = Adviser([name for name in names if name not in self.exact], class_map.names)

    def match(self) -> tuple[dict[str, str], dict[str, str]]:
        """Source name → target name ("" for a class whose boxes are left out), and the reasons for those refused."""
        targets: dict[str, str] = {}
        reasons: dict[str, str] = {}
        unmapped: list[str] = []
        for name in self.names:
            target = self.exact.get(name)
            if target is None:
                target = self._match_similar(name)
            if target is None:
                target = _DROPPED if self.map.unmapped == "refuse" else name
                if target == _DROPPED:
                    reasons[name] = f"the class {short(name)} is not in {Path(self.map.file).name}"
                unmapped.append(name)
            targets[name] = target
        self._note_unmapped(unmapped)
        self._note_unused()
        return targets, reasons

    def _note_unused(self) -> None:
        """Say which aliases and dropped names stand for no class of the data: they may be misspelt in the file."""
        there = {normalise(name) for name in self.names}
        unused = [name for name in self.exact if name not in self.map.names and normalise(name) not in there]
        if unused:
            shown = ", ".join(map(short, unused[:_SHOWN])) + (", …" if len(unused) > _SHOWN else "")
            self.notes.append(f"no class of this data is called {shown}, as {Path(self.map.file).name} has it")

    def _match_similar(self, name: str) -> str | None:
        found = self.similar.get(normalise(name), set())
        if len(found) != 1:
            return None
        target = next(iter(found))
        became = "dropped" if target == _DROPPED else f"taken for {short(target)}"
        self.notes.append(
            f"the class {short(name)} is {became}: it differs from a name in {Path(self.map.file).name} "
            "only in case, spaces or underscores"
        )
        return target

    def _note_unmapped(self, names: Sequence[str]) -> None:
        """Say which classes the file does not know, and of those that could mean two of its names, which."""
        if not names:
            return
        one = len(names) == 1
        does = f"{'is' if one else 'are'} kept as {'it is' if one else 'they are'}"
        if self.map.unmapped == "refuse":
            does = "have their boxes refused" if not one else "has its boxes refused"
        self.notes.append(
            f"{counted(len(names), 'class', 'classes')} not in {Path(self.map.file).name} {does}: "
            + self.adviser.describe(names, self.boxes)
        )
        for name in names:
            found = sorted(short(target) if target else "drop" for target in self.similar.get(normalise(name), ()))
            if found:
                self.notes.append(f"the class {short(name)} could mean {' or '.join(found)}")


def _relabel(
    annotations: Annotations, table: Array, reasons: Mapping[str, str], file: str
) -> tuple[tuple[SourceImage, ...], list[Finding]]:
    """The images with their class column looked up in ``table``.

    A box that gets -1 becomes a finding: refused if ``reasons`` has its class, else dropped.
    """
    if not annotations.images or np.array_equal(table, np.arange(len(table))):
        return annotations.images, []
    boxes = np.concatenate([image.boxes for image in annotations.images])
    labels = boxes[:, 0].astype(np.intp)
    boxes[:, 0] = table[labels] if len(table) else labels
    ends = np.cumsum([len(image.boxes) for image in annotations.images])
    losers = set(np.searchsorted(ends, np.flatnonzero(boxes[:, 0] < 0), side="right").tolist())
    images: list[SourceImage] = []
    left_out: list[Finding] = []
    start = 0
    for i, (image, end) in enumerate(zip(annotations.images, ends.tolist(), strict=True)):
        own, places = boxes[start:end], image.places
        if i in losers:
            for place, label in zip(places, labels[start:end].tolist(), strict=True):
                name = annotations.names[label]
                if table[label] < 0:
                    kind: Kind = "refused" if name in reasons else "dropped"
                    reason = reasons.get(name, f"the class {short(name)} is dropped by {file}")
                    left_out.append(Finding(kind, image.image, int(place), f"box {place}: {reason}", boxes=1))
            kept = own[:, 0] >= 0
            own, places = own[kept], tuple(place for place, keep in zip(places, kept, strict=True) if keep)
        images.append(replace(image, boxes=own, places=places))
        start = end
    return tuple(images), left_out


def normalise(name: str) -> str:
    """A name without what people write differently: case, underscores, spaces, composed or decomposed letters."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().replace("_", " ").split())


class _PlainLoader(yaml.BaseLoader):
    """YAML whose every scalar is text (``no`` and ``7`` are names), without tags.

    Anchors are refused: a few lines of them can stand for billions of values.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases (& and *) are not allowed here")
        return super().compose_node(parent, index)


def _read_yaml(path: Path) -> Any:
    if not path.is_file():
        raise InvalidInput(f"{path}: " + ("must be a regular file" if path.exists() else "no such file of class names"))
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InvalidInput(f"{path}: may have {MOST_BYTES} bytes at most, got {size}")
        return load_yaml(path.read_bytes(), _PlainLoader)
    except RecursionError:
        raise InvalidInput(f"{path}: not usable YAML: nested too deep") from None
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from None
    except RepeatedKey as error:
        raise InvalidInput(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise InvalidInput(f"{path}: not valid YAML: {short(' '.join(str(error).split()))}") from None


def _texts(value: Any, place: str) -> list[str]:
    """A list of names; nothing is an empty one."""
    if value in (None, ""):
        return []
    if not isinstance(value, list):
        raise InvalidInput(f"{place}: must be a list of names, got {short(value)}")
    for name in value:
        if not is_text(name) or not name.strip():
            raise InvalidInput(f"{place}: a name must be text, got {short(name)}")
    return value


def _collect_aliases(path: Path, classes: Mapping[str, Any]) -> dict[str, str]:
    """Every written name → its canonical name."""
    aliases = {name: name for name in classes}
    for name, value in classes.items():
        for alias in _texts(value, f"{path}: the aliases of {short(name)}"):
            owner = aliases.setdefault(alias, name)
            if owner == name:
                continue
            what = "a class of its own" if owner == alias else f"an alias of {short(owner)}"
            raise InvalidInput(f"{path}: {short(alias)} is an alias of {short(name)} and {what}")
    return aliases
