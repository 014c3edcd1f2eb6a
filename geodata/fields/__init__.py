"""The parts of a sample: images, masks, labels, boxes and arrays; each knows how one row of a catalog becomes it."""

from geodata.fields.base import Field
from geodata.fields.boxes import BoxesField
from geodata.fields.dataset import FieldDataset
from geodata.fields.image import ImageField
from geodata.fields.label import LabelField
from geodata.fields.loose import LooseField
from geodata.fields.mask import MaskField
from geodata.fields.vectors import ArrayField

__all__ = [
    "ArrayField",
    "BoxesField",
    "Field",
    "FieldDataset",
    "ImageField",
    "LabelField",
    "LooseField",
    "MaskField",
]
