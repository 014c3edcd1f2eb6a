"""NWPU-RESISC45: aerial pictures of 45 kinds of scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geodata.catalog import Catalog
from geodata.datasets.archive import ArchiveDataset
from geodata.datasets.lists import RGB, parts_of, pictures, with_split
from geodata.datasets.tables import classes
from geodata.download import Source
from geodata.spec import DatasetSpec, Image, Label

__all__ = ["RESISC45"]

LISTS = "resisc45-{}.txt"
_HOST = "https://hf.co/datasets/isaaccorley/resisc45/resolve/883edc0eee77b2c84225472f10f126e3ed83fa6e/"
_SHA256 = {
    "NWPU-RESISC45.zip": "beeecd0b63656290ae6d65cf7763185b0c1c4c54a753ef8088d6fba3faaf1f53",
    "resisc45-train.txt": "ecfa963be4d85eac83665f8be8634abcb4fe6f3546472cc0e87999e2cab4449b",
    "resisc45-val.txt": "08d81f642526bec240589000af7f49a47e8d071a6e7925b0f36246a78ab64342",
    "resisc45-test.txt": "e0927e80130b47317a2f18520d98382b6fc56f0d3edd3345140f7d02267c3805",
}


class RESISC45(ArchiveDataset):
    """NWPU-RESISC45: 31,500 pictures of 256 x 256 pixels, 700 of each of 45 kinds of scenes.

    ``image`` (3, 256, 256), ``label`` () int64.

    Parameters
    ----------
    root : folder with ``NWPU-RESISC45`` and the lists of the split
    common : as in `geodata.datasets.archive.Common`; splits are ``train``, ``val`` and ``test``

    Raises
    ------
    NoFilesError
        If a split is asked for and its list is not there; ``split=None`` needs none.
    """

    spec = DatasetSpec(
        name="resisc45",
        title="NWPU-RESISC45",
        about="Aerial pictures from Google Earth, 0.2 to 30 m per pixel, of 45 kinds of scenes.",
        contents=(
            Image("image", "NWPU-RESISC45", about="red, green, blue", bands=RGB, shape=(256, 256)),
            Label("label", about="the folder it is in", columns=("category",), classes=classes("resisc45")),
        ),
        tree="NWPU-RESISC45/<class>/<class>_<NNN>.jpg\nresisc45-{train,val,test}.txt          for split=",
        home="https://doi.org/10.1109/jproc.2017.2675998",
        licence="unknown",
        citation="Cheng, Han, Lu: Remote Sensing Image Scene Classification: Benchmark and State of the Art, Proceedings of "
        "the IEEE 105 (10), 2017",
        splits=("train", "val", "test"),
        lists=LISTS,
        sources=tuple(
            Source(file, (_HOST + file,), f"sha256:{digits}", "" if file.endswith(".zip") else None)
            for file, digits in _SHA256.items()
        ),
        items=31_500,
        traps=(
            "The authors published no split; the lists are those of Neumann et al., 2019, arXiv:1911.06721.",
            "Pictures carry no georeference, and their pixel size differs from class to class.",
        ),
    )

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers of the pictures and the lists of the split that are there."""
        pattern = r"^NWPU-RESISC45/(?P<category>[^/]+)/(?P<item>[^/]+)\.jpg$"
        found = pictures(root, pattern, on_error=on_error, progress=progress)
        parts = parts_of(root, LISTS, cls.spec)
        return with_split(found, parts, cls.spec, root, on_error=on_error)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.fakes import pixels, write_image

        lists: dict[str, list[str]] = {part: [] for part in cls.spec.splits}
        names = classes("resisc45").names
        for i in range(items):
            name = names[(11 * i) % len(names)]
            item = f"{name}_{i + 1:03d}.jpg"
            write_image(root / "NWPU-RESISC45" / name / item, pixels((3, 256, 256), "uint8", 0, 255, i))
            lists[("train", "val", "test", "train")[i % 4]].append(item)
        for part, held in lists.items():
            (root / LISTS.format(part)).write_text("".join(f"{item}\n" for item in held), encoding="utf-8")
