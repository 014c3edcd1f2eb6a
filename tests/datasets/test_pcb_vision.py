"""PCB-Vision: look-alike boards against numpy and rasterio, and files that disagree."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning

from geodata.datasets.fakes import write_image
from geodata.datasets.pcb_vision import PCBVision
from geodata.datasets.pcb_vision_fake import write_envi
from geodata.datasets.pcb_vision_table import SPLIT
from geodata.errors import BandsError, CatalogError, DtypeError, GridError, NoFilesError, ReadError


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pcb")
    PCBVision.fake(root)
    return root


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tree, tmp_path / "copy", ignore=shutil.ignore_patterns(".geodata"))


def plain(header: Path, data: Path, dtype: str) -> np.ndarray:
    """Pixels of a cube interleaved by pixel, as (bands, lines, samples), by the sizes in its header alone."""
    text = header.read_text()
    bands, lines, samples = (int(re.search(rf"^{n} = (\d+)$", text, re.M)[1]) for n in ("bands", "lines", "samples"))
    return np.fromfile(data, dtype).reshape(lines, samples, bands).transpose(2, 0, 1)


def picture(path: Path) -> np.ndarray:
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path) as file:
        return file.read()


def row_of(ds: PCBVision, key: str) -> int:
    return ds.catalog.key.tolist().index(key)


def test_the_split_is_the_published_one() -> None:
    every = [n for part in SPLIT.values() for n in part]
    assert [len(part) for part in SPLIT.values()] == [18, 3, 30]
    assert set(range(1, 54)) - set(every) == {4, 35}
    assert len(every) == len(set(every)) == 51


def test_parts(tree: Path) -> None:
    ds = PCBVision(tree)
    assert dict(zip(ds.catalog.key, ds.catalog.column("split"), strict=True)) == {
        "pcb1": "train", "pcb2": "test", "pcb4": None, "pcb18": "val",
    }  # fmt: skip
    assert PCBVision(tree, split="val").catalog.key.tolist() == ["pcb18"]
    with pytest.raises(CatalogError, match="train, val, test"):
        PCBVision(tree, split="validation")


@pytest.mark.parametrize("masks", ["general", "monoseg"])
def test_samples_are_the_pixels_of_the_files(tree: Path, masks: str) -> None:
    ds = PCBVision(tree, masks=masks)
    for key, n in (("pcb1", 1), ("pcb18", 18), ("pcb4", 4)):
        sample = ds[row_of(ds, key)]
        cube = plain(tree / f"HSI/pcb{n}/pcb{n}.hdr", tree / f"HSI/pcb{n}/pcb{n}", "<f4")
        assert torch.equal(sample["image"], torch.from_numpy(cube.copy()))
        small = tree / "HSI" / (f"General_masks/{n}" if masks == "general" else f"Monoseg_masks/mono{n}")
        header = small.with_name(small.name + (".HDR" if masks == "general" else ".hdr"))
        assert np.array_equal(sample["mask"].numpy(), plain(header, small, "u1")[0])
        assert np.array_equal(sample["image_rgb"].numpy(), picture(tree / f"RGB/{n}.jpg"))
        assert np.array_equal(sample["mask_rgb"].numpy(), picture(tree / f"RGB/{masks.title()}/{n}.png")[0])
        assert np.array_equal(sample["mask_board"].numpy(), picture(tree / f"HSI/PCB_Masks/{n}.jpg")[0] > 127)
        assert set(sample["mask_board"].unique().tolist()) == {0, 1}
        assert sample["image_rgb"].shape[1:] != sample["image"].shape[1:]


def test_other_masks(tree: Path) -> None:
    with pytest.raises(CatalogError, match="general, monoseg"):
        PCBVision(tree, masks="all")


def test_wavelengths_are_those_of_the_headers(tree: Path) -> None:
    bands = PCBVision(tree).bands
    assert bands is not None
    assert len(bands) == 224
    assert np.allclose(bands.wavelengths, np.linspace(400, 1000, 224), atol=0.006)
    assert PCBVision(tree, bands=[650.0, 400.0])[0]["bands"].names == ("94", "1")


def test_headers_without_wavelengths(copy: Path) -> None:
    for header in copy.glob("HSI/pcb*/*.hdr"):
        lines = header.read_text().splitlines(keepends=True)
        header.write_text("".join(line for line in lines if not line.startswith("wavelength")))
    bands = PCBVision(copy).bands
    assert bands is not None
    assert bands.names == tuple(map(str, range(1, 225)))
    assert np.isnan(bands.wavelengths).all()


def test_headers_that_state_different_wavelengths(copy: Path) -> None:
    header = copy / "HSI/pcb2/pcb2.hdr"
    header.write_text(header.read_text().replace("400.00", "395.00"))
    with pytest.raises(BandsError, match="different wavelengths"):
        PCBVision(copy)


def test_values_out_of_range_are_kept_and_counted(tree: Path) -> None:
    ds = PCBVision(tree)
    for row in range(len(ds)):
        image = ds[row]["image"]
        assert ds.out_of_range(row) == int(((image < 0) | (image > 1)).sum()) > 0
    tiles = ds.tile(10)
    first = [i for i in range(len(tiles)) if tiles.catalog.column("board")[i] == 1]
    assert sum(tiles.out_of_range(i) for i in first) == ds.out_of_range(0)


def test_windows_need_the_images_of_one_grid(tree: Path) -> None:
    with pytest.raises(GridError, match="keys="):
        PCBVision(tree).tile(10)[1]
    whole, tile = PCBVision(tree)[0], PCBVision(tree, keys=["image", "mask", "mask_board"]).tile(10)[1]
    assert torch.equal(tile["image"], whole["image"][:, :10, 10:20])
    assert torch.equal(tile["mask"], whole["mask"][:10, 10:20])


def test_names_may_be_spelled_in_other_cases(copy: Path) -> None:
    expected = PCBVision(copy)[0]
    (copy / "HSI").rename(copy / "hsi")
    (copy / "hsi/General_masks").rename(copy / "hsi/general_masks")
    (copy / "hsi/pcb1/pcb1.hdr").rename(copy / "hsi/pcb1/PCB1.HDR")
    (copy / "hsi/pcb1/pcb1").rename(copy / "hsi/pcb1/PCB1")
    (copy / "hsi/PCB_Masks/1.jpg").rename(copy / "hsi/PCB_Masks/1.JPG")
    sample = PCBVision(copy)[0]
    for key in ("image", "mask", "mask_board", "image_rgb", "mask_rgb"):
        assert torch.equal(sample[key], expected[key])


@pytest.mark.parametrize("key", ["mask", "mask_rgb"])
def test_a_number_above_3_is_refused(copy: Path, key: str) -> None:
    ds = PCBVision(copy)
    shape = tuple(ds[0][key].shape)
    bad = np.zeros(shape, dtype=np.uint8)
    bad[2, 3] = 4
    if key == "mask":
        write_envi(copy / "HSI/General_masks/1", ".HDR", bad[None])
    else:
        write_image(copy / "RGB/General/1.png", bad, "PNG")
    with pytest.raises(CatalogError, match=r"'pcb1': class 4"):
        ds[0]
    assert ds[1][key].max() == 3


def test_a_mask_of_another_size(copy: Path) -> None:
    write_envi(copy / "HSI/General_masks/2", ".HDR", np.zeros((1, 5, 6), dtype=np.uint8))
    with pytest.raises(GridError, match=r"General_masks/2 has 5 x 6 pixels"):
        PCBVision(copy)
    ds = PCBVision(copy, on_error="skip")
    assert ds.catalog.key.tolist() == ["pcb1", "pcb4", "pcb18"]


def test_a_cube_of_other_bands(copy: Path) -> None:
    write_envi(copy / "HSI/pcb2/pcb2", ".hdr", np.zeros((3, 23, 31), dtype=np.float32))
    with pytest.raises(BandsError, match="3 bands, wanted 224"):
        PCBVision(copy)


def test_a_torn_cube(copy: Path) -> None:
    path = copy / "HSI/pcb2/pcb2"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ReadError, match="cut short"):
        PCBVision(copy)
    assert len(PCBVision(copy, on_error="skip")) == 3


def test_boards_stored_in_different_dtypes(copy: Path) -> None:
    stored = plain(copy / "HSI/General_masks/1.HDR", copy / "HSI/General_masks/1", "u1")
    write_envi(copy / "HSI/General_masks/1", ".HDR", stored.astype(np.float32))
    with pytest.raises(DtypeError, match=r"General_masks/1 is stored as float32, most boards as uint8.*1 of 4"):
        PCBVision(copy)
    assert PCBVision(copy, on_error="skip").catalog.key.tolist() == ["pcb2", "pcb4", "pcb18"]


def test_a_missing_file(copy: Path) -> None:
    (copy / "RGB/18.jpg").unlink()
    ds = PCBVision(copy)
    with pytest.raises(ReadError, match=r"18\.jpg"):
        ds[row_of(ds, "pcb18")]
    left = PCBVision(copy, on_error="skip")
    assert len(left) == 3
    assert left.catalog.dropped == ("pcb18",)
    assert len(PCBVision(copy, on_error="skip", keys=["image", "mask"])) == 4


def test_without_photographs(copy: Path) -> None:
    shutil.rmtree(copy / "RGB")
    with pytest.raises(NoFilesError, match="RGB"):
        PCBVision(copy)
    sample = PCBVision(copy, keys=["image", "mask"])[0]
    assert "image_rgb" not in sample
