"""The unmixing scenes whose ground truth Feiyun Zhu published, and a class for all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from geodata.bands import Bands
from geodata.datasets import unmixing_table as table
from geodata.datasets.archive import Common
from geodata.datasets.unmixing_files import Look, Published
from geodata.datasets.unmixing_scene import ABUNDANCE, ENDMEMBERS, IMAGE, WAVELENGTHS, UnmixingScene
from geodata.errors import CatalogError
from geodata.spec import DatasetSpec

__all__ = ["Cuprite", "JasperRidge", "Samson", "UnmixingScene", "Urban"]


class Samson(UnmixingScene):
    """Samson: 95 x 95 pixels, 156 channels of 401 to 889 nm, 3 endmembers: rock, Tree, water.

    Sample keys and options as in `UnmixingScene`. The endmembers are normalised to a maximum of 1 each, so they times the
    abundances is not the image: the least-squares factors of the three are 0.44, 0.52 and 0.033. The wavelengths are
    even steps between the published ends; the files hold none.
    """

    spec = DatasetSpec(
        name="samson",
        title="Samson",
        about="A scene of 95 x 95 pixels, 156 channels and three endmembers, for spectral unmixing.",
        contents=(
            replace(IMAGE, bands=Bands(map(str, range(1, 157))), shape=(95, 95)),
            replace(ABUNDANCE, bands=Bands(table.SAMSON.names), shape=(95, 95)),
            ENDMEMBERS,
            WAVELENGTHS,
        ),
        tree=table.TREES["samson"],
        home="https://arxiv.org/abs/1708.05125",
        licence="unknown",
        citation=table.CITATION,
        items=1,
        traps=(*table.TRAPS, "Each endmember is scaled to a maximum of 1: they times the abundances is not the image."),
    )
    published = table.SAMSON


class JasperRidge(UnmixingScene):
    """Jasper Ridge: 100 x 100 pixels of AVIRIS, 198 of 224 channels kept, 4 endmembers: tree, water, dirt, road.

    Sample keys and options as in `UnmixingScene`. Numbers divided by 5000 (``Band.scale``) are on the scale of the
    endmembers. Wavelengths are NaN: neither the files nor the authors give centres, and those of other flights differ.
    """

    spec = DatasetSpec(
        name="jasper_ridge",
        title="Jasper Ridge",
        about="A part of 100 x 100 pixels of an AVIRIS scene, 198 of 224 channels and four endmembers, for spectral unmixing.",
        contents=(
            replace(IMAGE, bands=Bands(map(str, table.kept(table.JASPER))), shape=(100, 100)),
            replace(ABUNDANCE, bands=Bands(table.JASPER.names), shape=(100, 100)),
            ENDMEMBERS,
            WAVELENGTHS,
        ),
        tree=table.TREES["jasper"],
        home="https://arxiv.org/abs/1708.05125",
        licence="unknown",
        citation=table.CITATION,
        items=1,
        traps=(
            *table.TRAPS,
            "Prose about it lists the endmembers in another order than the file, which says it in cood.",
        ),
    )
    published = table.JASPER


class Urban(UnmixingScene):
    """Urban: 307 x 307 pixels of HYDICE at 2 m, 162 of 210 channels kept, with 4, 5 or 6 endmembers.

    Sample keys and options as in `UnmixingScene`; wavelengths are NaN, as in `JasperRidge`. The six endmembers are Asphalt,
    Grass, Tree, Roof, Metal, Dirt, the four the first four, the five those and Dirt, if the file names none.

    Parameters
    ----------
    endmembers : {4, 5, 6}
        Which of the three published ground truths to read.
    """

    spec = DatasetSpec(
        name="urban",
        title="Urban",
        about="A HYDICE scene of 307 x 307 pixels and 162 of 210 channels, with ground truths of 4, 5 and 6 endmembers, for "
        "spectral unmixing.",
        contents=(
            replace(IMAGE, bands=Bands(map(str, table.kept(table.urban(4)))), shape=(307, 307)),
            replace(ABUNDANCE, bands=Bands(table.urban(4).names), shape=(307, 307)),
            ENDMEMBERS,
            WAVELENGTHS,
        ),
        tree=table.TREES["urban"],
        home="https://arxiv.org/abs/1708.05125",
        licence="unknown",
        citation=table.CITATION,
        items=1,
        traps=(*table.TRAPS, "There are three ground truths; say which one a result is of."),
    )

    def __init__(self, root: str | Path, *, endmembers: int = 4, **options: Any) -> None:
        if endmembers not in table.URBAN_NAMES:
            raise CatalogError(f"endmembers={endmembers!r}; Urban has ground truths of 4, 5 and 6")
        self._count = endmembers
        super().__init__(root, **options)

    def _open(self, root: Path, look: Look, common: Common) -> None:
        super()._open(root, replace(look, count=self._count), common)

    @classmethod
    def _known(cls, look: Look) -> Published:
        return table.urban(look.count or 4)


class Cuprite(UnmixingScene):
    """Cuprite: 250 x 190 pixels of AVIRIS, 188 of 224 channels kept, spectra of 12 minerals, no abundances.

    ``image`` (188, 250, 190), ``endmembers`` (12, 188) of the channels kept, ``wavelengths`` (188,) in nm as the ground
    truth gives them; where two spectrometers overlap, the next channel has the shorter wavelength. Options as in
    `UnmixingScene`.
    """

    spec = DatasetSpec(
        name="cuprite",
        title="Cuprite",
        about="A part of 250 x 190 pixels of an AVIRIS scene, 188 of 224 channels and the spectra of twelve minerals, for "
        "spectral unmixing.",
        contents=(
            replace(IMAGE, bands=Bands(map(str, table.kept(table.CUPRITE))), shape=(250, 190)),
            ENDMEMBERS,
            WAVELENGTHS,
        ),
        tree=table.TREES["cuprite"],
        home="https://arxiv.org/abs/1708.05125",
        licence="unknown",
        citation=table.CITATION,
        items=1,
        traps=(*table.TRAPS, "The spectra have all 224 channels, the cube 188: slctBnds says which, from 1."),
    )
    published = table.CUPRITE
