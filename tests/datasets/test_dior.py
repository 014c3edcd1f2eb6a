"""DIOR: the look-alikes against their own numbers, a real pair, and bad annotations."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning

import geodata as gd
from geodata.datasets import dior_fake
from geodata.datasets.dior import DIOR
from geodata.datasets.safe_xml import LARGEST, parse_xml
from geodata.datasets.tables import classes
from geodata.errors import CatalogError, NoFilesError, ReadError

ALPHABETICAL = (
    "airplane", "airport", "baseballfield", "basketballcourt", "bridge", "chimney", "dam", "expressway-service-area",
    "expressway-toll-station", "golffield", "groundtrackfield", "harbor", "overpass", "ship", "stadium", "storagetank",
    "tenniscourt", "trainstation", "vehicle", "windmill",
)  # fmt: skip
UP = "Annotations/Horizontal Bounding Boxes"
TURNED = "Annotations/Oriented Bounding Boxes"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dior")
    DIOR.fake(root)
    return root


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tree, tmp_path / "copy", ignore=shutil.ignore_patterns(".geodata"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed")
    dior_fake.write_repacked(root, 4)
    return root


def annotation(*objects: str) -> str:
    return f"<annotation>{''.join(objects)}</annotation>"


def box(name: str, *numbers: float | str) -> str:
    tags = ("xmin", "ymin", "xmax", "ymax")
    inner = "".join(f"<{t}>{v}</{t}>" for t, v in zip(tags, numbers, strict=True))
    return f"<object><name>{name}</name><bndbox>{inner}</bndbox></object>"


def jpeg(path: Path) -> np.ndarray:
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path) as file:
        return file.read()


def test_classes_are_the_published_ones() -> None:
    assert classes("dior").names == ALPHABETICAL


def test_the_two_orders_differ_only_in_dam(tree: Path) -> None:
    mmrotate = DIOR(tree, order="mmrotate").fields[1].classes
    assert mmrotate[6:9] == ("expressway-service-area", "expressway-toll-station", "dam")
    assert [c for c in mmrotate if c != "dam"] == [c for c in ALPHABETICAL if c != "dam"]
    sample, other = DIOR(tree)[0], DIOR(tree, order="mmrotate")[0]
    assert [ALPHABETICAL[i] for i in sample["box_labels"]] == [mmrotate[i] for i in other["box_labels"]]


def test_an_order_of_ones_own_counts_whatever_capitals_and_hyphens(tree: Path) -> None:
    spelled = [name.upper().replace("-", "") for name in reversed(ALPHABETICAL)]
    found = DIOR(tree, order=spelled)[0]["box_labels"]
    assert torch.equal(found, 19 - DIOR(tree)[0]["box_labels"])


@pytest.mark.parametrize("order", ["by hand", ALPHABETICAL[:19], (*ALPHABETICAL[:19], "boat")])
def test_no_other_order(tree: Path, order: object) -> None:
    with pytest.raises(CatalogError, match="order"):
        DIOR(tree, order=order)


def test_parts_are_those_of_the_lists(tree: Path) -> None:
    assert len(DIOR(tree)) == 4
    for part in ("train", "val", "test"):
        listed = (tree / f"ImageSets/Main/{part}.txt").read_text().split()
        assert sorted(DIOR(tree, split=part).catalog.key) == listed
    assert len(DIOR(tree, split=("train", "val"))) == 3


def test_an_image_is_what_rasterio_reads(tree: Path) -> None:
    ds = DIOR(tree, dtype=None)
    for i, path in enumerate(ds.catalog.column("path")):
        sample = ds[i]
        assert sample["image"].dtype == torch.uint8
        assert np.array_equal(sample["image"].numpy(), jpeg(tree / path))
        assert sample["bands"].names == ("R", "G", "B")


def test_boxes_are_those_drawn(tree: Path) -> None:
    upright, turned = DIOR(tree), DIOR(tree, oriented=True)
    for i, key in enumerate(upright.catalog.key):
        number = int(key) - (11726 if int(key) > 11725 else 1)
        points, names = dior_fake.turned_boxes(number)
        expected = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        for sample in (upright[i], turned[i]):
            assert sample["boxes"].dtype == torch.float32
            assert np.array_equal(sample["boxes"].numpy(), expected)
            assert [ALPHABETICAL[k] for k in sample["box_labels"]] == names
        assert np.array_equal(turned[i]["corners"].numpy(), points)
        assert "corners" not in upright[i]


def test_a_tile_has_boxes_of_its_own(tree: Path) -> None:
    ds = DIOR(tree, oriented=True)
    whole, tiles = ds[0], ds.where(key=ds.catalog.key[0]).tile(400)
    assert len(tiles) == 4
    kept = 0
    for i in range(4):
        row, column = tiles.catalog.origin[i].tolist()
        shifted = whole["boxes"] - torch.tensor([column, row, column, row])
        cut = shifted.clamp(0, 400)
        share = (cut[:, 2:] - cut[:, :2]).prod(1) / (shifted[:, 2:] - shifted[:, :2]).prod(1)
        inside = share >= 0.3
        assert torch.equal(tiles[i]["boxes"], cut[inside])
        assert torch.equal(tiles[i]["corners"], (whole["corners"] - torch.tensor([column, row]))[inside])
        assert torch.equal(tiles[i]["box_labels"], whole["box_labels"][inside])
        kept += int(inside.sum())
    assert kept >= len(whole["boxes"])


def test_a_batch_keeps_boxes_apart(tree: Path) -> None:
    ds = DIOR(tree)
    batch = gd.collate([ds[0], ds[1]])
    assert batch["image"].shape == (2, 3, 800, 800)
    assert isinstance(batch["boxes"], list)
    assert torch.equal(batch["boxes"][1], ds[1]["boxes"])


def test_a_real_pair(realdata: Path, tmp_path: Path) -> None:
    for folder, file, name in (
        ("JPEGImages-trainval", "00001.jpg", "00001.jpg"), (TURNED, "00001_obb.xml", "00001.xml"),
    ):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(realdata / "dior" / file, tmp_path / folder / name)
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    for part, text in (("train", "00001\n"), ("val", ""), ("test", "")):
        (tmp_path / f"ImageSets/Main/{part}.txt").write_text(text)
    sample = DIOR(tmp_path, oriented=True, split="train", dtype=None)[0]
    assert np.array_equal(sample["image"].numpy(), jpeg(realdata / "dior" / "00001.jpg"))
    assert sample["corners"].tolist() == [[[133, 237], [684, 237], [684, 672], [133, 672]]]
    assert sample["boxes"].tolist() == [[133, 237, 684, 672]]
    assert [ALPHABETICAL[i] for i in sample["box_labels"]] == ["golffield"]
    with pytest.raises(NoFilesError, match="Horizontal"):
        DIOR(tmp_path)


# ---------------------------------------------------------------------- the copy packed anew


def test_the_packed_copy_has_the_same_boxes(tree: Path, packed: Path) -> None:
    one, other = DIOR(tree, split=("train", "val")), DIOR(packed, split=("train", "val"))
    assert one.catalog.key.tolist() == other.catalog.key.tolist()
    for i in range(len(one)):
        assert torch.equal(one[i]["boxes"], other[i]["boxes"])
        assert torch.equal(one[i]["box_labels"], other[i]["box_labels"])


def test_test_images_of_the_packed_copy_have_no_boxes(packed: Path) -> None:
    with pytest.raises(CatalogError, match=r"11727.*split='train'.*keys="):
        DIOR(packed, split="test")[0]
    assert DIOR(packed, split="test", keys=["image"])[0]["image"].shape == (3, 800, 800)


def test_the_packed_copy_has_no_oriented_boxes(packed: Path) -> None:
    with pytest.raises(CatalogError, match="horizontal"):
        DIOR(packed, oriented=True)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("label_path", "label", "label_path"), (",val", ",valid", "valid"), ("Images_test/", "../", "root")],
)
def test_a_packed_copy_with_another_table(packed: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (packed / "sample_df.csv").read_text()
    (tmp_path / "sample_df.csv").write_text(text.replace(old, new))
    with pytest.raises(CatalogError, match=said):
        DIOR(tmp_path)


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation><object>", r"line 1"),
        (annotation(box("ship", 10, 10, 900, 20)), r"object 1 \(ship\): the box \(10, 10, 900, 20\) is outside .*800"),
        (annotation(box("ship", -1, 10, 90, 20)), "outside"),
        (annotation(box("ship", 1, 2, 9, 9), box("dam", 30, 10, 30, 20)), r"object 2 \(dam\): .* no area"),
        (annotation(box("dam", 30, 10, 20, 20)), "no area"),
        (annotation(box("boat", 10, 10, 90, 20)), r"object 1 \(boat\): no such class.*airplane"),
        (annotation(box("ship", 10, 10, "wide", 20)), r"object 1 \(ship\).*'wide'"),
        (annotation(box("ship", 10, 10, "nan", 20)), r"'nan'"),
        (annotation("<object><name>ship</name></object>"), "has no bndbox"),
        ("<html/>", "no annotation"),
        ('<!DOCTYPE a [<!ENTITY b "ship">]><annotation/>', "entities"),
    ],
)
def test_a_bad_annotation_is_named(copy: Path, text: str, said: str) -> None:
    (copy / UP / "00001.xml").write_text(text)
    ds = DIOR(copy)
    with pytest.raises(ReadError, match=said) as caught:
        ds[ds.catalog.key.tolist().index("00001")]
    assert "00001.xml" in str(caught.value)
    assert len(ds[ds.catalog.key.tolist().index("00004")]["boxes"]) == 4


def test_oriented_boxes_may_stick_out_but_not_lie_outside(copy: Path) -> None:
    path = copy / TURNED / "00001.xml"
    tags = [f"{axis}_{side}" for side in ("left_top", "right_top", "right_bottom", "left_bottom") for axis in "xy"]

    def read(*numbers: int) -> dict[str, torch.Tensor]:
        inner = "".join(f"<{t}>{v}</{t}>" for t, v in zip(tags, numbers, strict=True))
        path.write_text(annotation(f"<object><name>ship</name><robndbox>{inner}</robndbox></object>"))
        ds = DIOR(copy, oriented=True)
        return ds[ds.catalog.key.tolist().index("00001")]

    assert read(780, 10, 810, 20, 800, 50, 770, 40)["boxes"].tolist() == [[770, 10, 800, 50]]
    with pytest.raises(ReadError, match="outside"):
        read(880, 10, 910, 20, 900, 50, 870, 40)
    with pytest.raises(ReadError, match="no area"):
        read(10, 10, 20, 20, 30, 30, 40, 40)


def test_a_missing_annotation_is_named(copy: Path) -> None:
    (copy / UP / "00001.xml").unlink()
    with pytest.raises(ReadError, match=r"00001\.xml"):
        DIOR(copy, split="train")[0]


def test_an_image_without_objects(copy: Path) -> None:
    (copy / UP / "00001.xml").write_text("<annotation/>")
    sample = DIOR(copy, split="train")[0]
    assert sample["boxes"].shape == (0, 4)
    assert sample["box_labels"].shape == (0,)


def test_another_split(tree: Path) -> None:
    with pytest.raises(CatalogError, match="train, val, test"):
        DIOR(tree, split="validation")


def test_half_an_archive(copy: Path) -> None:
    shutil.rmtree(copy / "JPEGImages-test")
    with pytest.raises(NoFilesError, match=r"1 of 4 .*11727.*on_error='skip'"):
        DIOR(copy)
    ds = DIOR(copy, on_error="skip")
    assert len(ds) == 3
    assert ds.catalog.dropped == ("11727",)


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(NoFilesError, match="Expected below the root"):
        DIOR(tmp_path)


def test_a_changed_list_makes_another_catalog(copy: Path) -> None:
    assert len(DIOR(copy, split="val")) == 1
    (copy / "ImageSets/Main/train.txt").write_text("00001\n")
    (copy / "ImageSets/Main/val.txt").write_text("00003\n00004\n")
    assert len(DIOR(copy, split="val")) == 2
    (copy / "ImageSets/Main/val.txt").write_text("00001\n00003\n")
    with pytest.raises(CatalogError, match="00001"):
        DIOR(copy)


# ---------------------------------------------------------------------- XML


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32"])
def test_no_document_type_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "bomb.xml"
    path.write_bytes('<!DOCTYPE a [<!ENTITY b "cc">]><a>&b;</a>'.encode(encoding))
    with pytest.raises(ReadError, match="document type"):
        parse_xml(path)


def test_xml_is_read_or_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<a>\n <b x='1'>é</b>\n</a>", encoding="utf-8")
    found = parse_xml(path).find("b")
    assert found is not None
    assert (found.text, found.get("x")) == ("é", "1")
    path.write_text("<a>\n <b>\n</a>")
    with pytest.raises(ReadError, match=r"a\.xml, line 3"):
        parse_xml(path)
    path.write_bytes(b"<a>" + b" " * LARGEST + b"</a>")
    with pytest.raises(ReadError, match="16,777,"):
        parse_xml(path)
    with pytest.raises(ReadError, match="cannot open"):
        parse_xml(tmp_path / "none.xml")


def test_a_whole_image_has_all_its_objects_and_a_window_those_that_are_in_it(tree):
    """An object of which a quarter is in the image, by a reader that reaches over its edge."""
    from geodata.fields import BoxesField
    from geodata.spot import Spot

    catalog = DIOR(tree, keys=["image"]).catalog
    field = BoxesField("boxes", "", _over_the_edge, ("ship",))
    for window, count in (((0, 0, 800, 800), 1), ((0, 0, 700, 700), 0), ((700, 700, 100, 100), 0)):
        found = field.fill(catalog, Spot(catalog.grid(0, window), catalog.interval(0), 0, window), {})
        assert len(found["boxes"]) == len(found["box_labels"]) == count, window


def _over_the_edge(catalog, row):
    return np.array([[790, 790, 812, 812]], np.float32), ["ship"]
