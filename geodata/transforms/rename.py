"""Other names for the keys of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geodata.errors import KeyClashError, TransformError
from geodata.sample import Sample
from geodata.transforms.base import Transform
from geodata.transforms.draws import Draws

__all__ = ["Rename"]

_STYLES = {
    "kornia": {"boxes": "bbox_xyxy", "valid": "mask_valid", "instances": "mask_instances"},
    "torchgeo": {"boxes": "bbox_xyxy", "box_labels": "label", "instances": "mask"},
    "torchvision": {"boxes": "boxes", "box_labels": "labels", "instances": "masks"},
}
"""Names of the keys that other libraries call otherwise."""

_KNOWN = (*Sample.__annotations__, "abundance", "mask_time")


class Rename(Transform):
    """Rename keys of the batch; values stay the same objects.

    A key takes its suffix along: with ``{"boxes": "bbox_xyxy"}`` also ``boxes_s1`` becomes ``bbox_xyxy_s1``, while ``box_labels`` is another
    key. The values stay as they are: no shape, dtype or unit is changed, and a `Grid` is not made into bounds. After it
    transforms of this package no longer know the renamed keys, and `geodata.collate` not those of samples whose boxes differ in
    number: it belongs at the end, on batches.

    Parameters
    ----------
    mapping : old name -> new name
    style : {"torchgeo", "kornia", "torchvision"}
        Instead of a mapping, the names of another library [1]_, [2]_, [3]_; keys that the batch lacks are passed over.
    back : bool
        The other way round: new names become old ones. With a style, ``label`` and ``mask`` are of boxes only beside boxes.

    Raises
    ------
    TransformError
        If neither or both of mapping and style are given, or two names become one; on a batch without a key of the mapping.
    KeyClashError
        On a batch where a new name is taken.

    References
    ----------
    .. [1] TorchGeo, ``torchgeo/tasks`` (detection and instance segmentation): image, bbox_xyxy, label, mask.
    .. [2] kornia 0.9, ``AugmentationSequential(data_keys=None)``: names before a suffix, ``kornia.constants.DataKey``.
    .. [3] torchvision, detection models: targets with boxes, labels, masks.

    Examples
    --------
    >>> sorted(Rename({"image": "x"})({"image": 1, "image_s1": 2, "key": "a"}))
    ['key', 'x', 'x_s1']
    >>> sorted(Rename(style="torchgeo")({"image": 1, "boxes": 2, "box_labels": 3}))
    ['bbox_xyxy', 'image', 'label']
    """

    def __init__(
        self, mapping: Mapping[str, str] | None = None, *, style: str | None = None, back: bool = False
    ) -> None:
        super().__init__()
        if (mapping is None) == (style is None):
            raise TransformError("give Rename either a mapping {'old': 'new'} or style=")
        if style is not None and style not in _STYLES:
            raise TransformError(f"style {style!r} must be one of {', '.join(_STYLES)}")
        self.mapping, self.style, self.back = mapping, style, bool(back)
        names = _STYLES[style] if style is not None else _checked(mapping)
        self.names = {new: old for old, new in names.items()} if self.back else names
        self.reads = tuple(f"{name}*" for name in self.names)
        self.writes = tuple(f"{name}*" for pair in self.names.items() for name in pair)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Rename the keys, in their order."""
        missing = [name for name in self.names if not any(self._split(key)[0] == name for key in batch)]
        if missing and self.style is None:
            raise TransformError(f"Rename found no {', '.join(map(repr, missing))} among {sorted(batch)}")
        out: dict[str, Any] = {}
        for key, value in batch.items():
            new = self._new(key, batch)
            if new in out:
                raise KeyClashError(
                    f"Rename would give two values the name {new!r}: take one of them out, or rename it otherwise with a mapping"
                )
            out[new] = value
        return out

    def _new(self, key: str, batch: Mapping[str, Any]) -> str:
        name, suffix = self._split(key)
        # A label or a mask of the whole image has the same name there as those of boxes.
        if (
            self.style is not None
            and self.back
            and name in _KNOWN
            and f"{_STYLES[self.style]['boxes']}{suffix}" not in batch
        ):
            return key
        return self.names.get(name, name) + suffix

    def _split(self, key: str) -> tuple[str, str]:
        known = {*self.names, *_KNOWN}
        for name in sorted(known, key=len, reverse=True):
            if key == name or key.startswith(f"{name}_"):
                return name, key[len(name) :]
        return key, ""

    def config(self) -> dict[str, Any]:
        """Return mapping, style and back."""
        return {"mapping": None if self.mapping is None else dict(self.mapping), "style": self.style, "back": self.back}

    @property
    def effect(self) -> str:
        """Renames."""
        pairs = [f"{old} -> {new}" for old, new in self.names.items() if old != new]
        return ", ".join(pairs[:4]) + (", ..." if len(pairs) > 4 else "")


def _checked(mapping: Any) -> dict[str, str]:
    if not isinstance(mapping, Mapping) or not mapping:
        raise TransformError(f"mapping must be {{'old': 'new', ...}}, got {mapping!r:.200}")
    names = dict(mapping)
    if not all(isinstance(text, str) and text for pair in names.items() for text in pair):
        raise TransformError(f"mapping must be of names in text, got {mapping!r:.200}")
    if len(set(names.values())) != len(names):
        raise TransformError(f"mapping {names!r:.200} gives two keys one name")
    return names
