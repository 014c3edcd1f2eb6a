"""Crops, padding and what happens to objects in them, against slices, shapely and counts by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodata import transforms as T
from geodata.errors import TransformError
from geodata.grid import Grid
from geodata.transforms.geometry.places import visible

Make = Callable[..., dict[str, Any]]
ANY: Any = T
RATIOS = {"": 1, "_20m": 2, "_60m": 6}


def place(before: Grid, after: Grid) -> tuple[int, int]:
    """Row and column of a window, as its grid tells."""
    at = after.offset_in(before)
    assert at is not None, "the window is not on the lattice of the image"
    return at


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint8, torch.bool, torch.float16, torch.complex64])
@pytest.mark.parametrize("times", [None, 2])
def test_a_crop_is_a_slice_at_every_resolution(batch: Make, dtype: torch.dtype, times: int | None) -> None:
    b = batch([(0, i) for i in range(60)], size=(24, 36), ratios=RATIOS, dtype=dtype, times=times)
    before = [Grid((24, 36), (10, 0, 5e5, 0, -10, 5.6e6), "EPSG:32633")] * 60
    b |= {f"grid{suffix}": [g.coarser(ratio) for g in before] for suffix, ratio in RATIOS.items()}
    out = T.RandomCrop((12, 18))(b)
    places = set()
    for i in range(60):
        row, col = place(b["grid"][i], out["grid"][i])
        places.add((row, col))
        for suffix, ratio in RATIOS.items():
            r, c, h, w = (n // ratio for n in (row, col, 12, 18))
            for key in [f"image{suffix}", f"valid{suffix}"] + ["mask"] * (suffix == ""):
                wanted = b[key][i][..., r : r + h, c : c + w]
                assert out[key][i].tolist() == wanted.tolist(), key
            assert place(b[f"grid{suffix}"][i], out[f"grid{suffix}"][i]) == (r, c)
    assert places == {(r, c) for r in (0, 6, 12) for c in (0, 6, 12, 18)}


def test_places_are_equally_likely() -> None:
    image = torch.arange(6.0).reshape(1, 1, 6).expand(4000, 1, 1, 6)
    out = T.RandomCrop((1, 3))({"draw": torch.tensor([[1, i] for i in range(4000)]), "image": image})
    counts = torch.bincount(out["image"][:, 0, 0, 0].long(), minlength=4)
    assert len(counts) == 4 and (counts - 1000).abs().max() < 120


@pytest.mark.parametrize(("size", "at"), [((4, 4), (3, 4)), ((5, 3), (2, 4)), ((10, 12), (0, 0)), ((1, 1), (4, 5))])
def test_center_crop(size: tuple[int, int], at: tuple[int, int]) -> None:
    image = torch.arange(120).reshape(1, 10, 12)
    out = T.CenterCrop(size)({"key": "a", "image": image})["image"]
    assert torch.equal(out, image[:, at[0] : at[0] + size[0], at[1] : at[1] + size[1]])


def test_only_the_window_is_read_and_copied(sample: Make) -> None:
    s = sample(size=(12, 12))
    out = T.CenterCrop(6)(s)
    out["image"].zero_()
    assert s["image"].count_nonzero() >= 287, "the result shares memory with what came in"
    assert T.CenterCrop(12)(s)["image"] is s["image"]


@pytest.mark.parametrize(
    ("how", "size"), [({"size": (10, 16)}, (12, 16)), ({"multiple": 8}, (16, 16)), ({"size": 2}, (12, 12))]
)
def test_padding(batch: Make, how: dict[str, Any], size: tuple[int, int]) -> None:
    b = batch([(0, i) for i in range(3)], size=(12, 12), boxes=1, ratios={"": 1, "_20m": 2})
    out = T.Pad(**how, fill=-5.0)(b)
    assert out["image"].shape[-2:] == size and out["image_20m"].shape[-2:] == (size[0] // 2, size[1] // 2)
    inside = torch.zeros(size, dtype=torch.bool)
    inside[:12, :12] = True
    for key, outside in (("image", -5), ("mask", -100), ("valid", False)):
        assert torch.equal(out[key][..., :12, :12], b[key])
        assert (out[key][..., ~inside] == outside).all(), key
    assert not out["instances"][0][:, ~inside].any()
    for old, new in zip(b["grid"], out["grid"], strict=True):
        assert new.shape == size and new.transform == old.transform
    assert all(torch.equal(x, y) for x, y in zip(out["boxes"], b["boxes"], strict=True))


def test_valid_is_added_where_it_is_missing(sample: Make) -> None:
    s = {k: v for k, v in sample(times=2).items() if k != "valid"}
    out = T.Pad(8)(s)
    assert out["valid"].shape == (2, 8, 8) and out["valid"].sum() == 2 * 36
    assert "valid" not in T.RandomCrop(4)(s)


def test_chosen_pixels_move_too(sample: Make) -> None:
    s = sample()
    out = T.Compose([T.RandomFlip(p=1), T.Pad(8)])(s | {"pixels": s["mask"] == 7})
    assert out["pixels"].dtype == torch.bool and out["pixels"].sum() == 1 and out["mask"][out["pixels"]].item() == 7


quads = st.lists(st.tuples(st.integers(-200, 300), st.integers(-200, 300)), min_size=4, max_size=4)


@settings(max_examples=200, deadline=None)
@given(quads, st.integers(1, 20), st.integers(1, 20))
def test_visible_share_equals_shapely(points: list[tuple[int, int]], width: int, height: int) -> None:
    hull = shapely.convex_hull(shapely.MultiPoint(np.array(points) / 10.7))
    if hull.geom_type != "Polygon" or hull.area < 1e-3:
        return
    ring = np.array(hull.exterior.coords)[:-1]
    found = visible(torch.from_numpy(ring)[None], torch.tensor([[width, height]], dtype=torch.float64))
    expected = hull.intersection(shapely.box(0, 0, width, height)).area / hull.area
    assert found.item() == pytest.approx(expected, abs=1e-6)


def objects(boxes: list[list[float]], **more: Any) -> dict[str, Any]:
    n = len(boxes)
    instances = torch.zeros(n, 10, 10, dtype=torch.bool)
    rest = {"box_labels": torch.arange(n), "instances": instances, "mask": torch.zeros(10, 10, dtype=torch.int64)}
    return {
        "key": "a",
        "draw": torch.tensor([0, 0]),
        "image": torch.zeros(1, 10, 10),
        "boxes": torch.tensor(boxes),
        **rest,
        **more,
    }


BOXES = [[0.0, 0, 4, 4], [0, 0, 5, 5], [4, 4, 6, 6], [-3, 4, 5, 6], [8, 8, 14, 14], [20, 20, 30, 30]]


def test_objects_out_of_sight_are_dropped_alike() -> None:
    """The window is 3..7; inside it are 1/16, 4/25, all, 4/16, none, none of the boxes."""
    out = T.CenterCrop(4, min_visible=0.25)(objects(BOXES))
    assert out["box_labels"].tolist() == [2, 3]
    assert out["boxes"].tolist() == [[1, 1, 3, 3], [0, 1, 2, 3]]
    assert out["instances"].shape == (2, 4, 4)
    assert T.CenterCrop(4, min_visible=0.15)(objects(BOXES))["box_labels"].tolist() == [1, 2, 3]
    assert T.CenterCrop(4, min_visible=0.0)(objects(BOXES))["box_labels"].tolist() == [0, 1, 2, 3, 4, 5]


def test_boxes_beyond_the_edge_on_input() -> None:
    for move in (T.CenterCrop(10), T.RandomAffine(), T.Resize(10), T.RandomAffine(p=0.0)):
        out = move(objects(BOXES))
        assert out["box_labels"].tolist() == [0, 1, 2, 3], move
        assert out["boxes"].min() >= 0 and out["boxes"].max() <= 10
    flipped = T.RandomFlip(p=1)(objects(BOXES))
    assert len(flipped["boxes"]) == 6, "a mirror drops nothing"


def test_corners_decide_and_are_not_cut() -> None:
    # A diamond has more of its area in the middle than the box around it.
    diamond = torch.tensor([[[5.0, 1], [9, 5], [5, 9], [1, 5]]])
    window = T.CenterCrop((10, 2), min_visible=0.4)
    alone = window(objects([[1.0, 1, 9, 9]]))
    assert alone["boxes"].tolist() == [], "2 of 8 columns of the box"
    both = window(objects([[1.0, 1, 9, 9]], corners=diamond))
    share = shapely.Polygon(diamond[0].numpy()).intersection(shapely.box(4, 0, 6, 10)).area / 32
    assert 0.4 < share < 0.5
    assert both["corners"].tolist() == [[[1, 1], [5, 5], [1, 9], [-3, 5]]]
    assert both["boxes"].tolist() == [[0, 1, 2, 9]]
    only = {k: v for k, v in objects([[1.0, 1, 9, 9]], corners=diamond).items() if k != "boxes"}
    assert len(window(only)["corners"]) == 1 and len(T.CenterCrop((10, 1), min_visible=0.4)(only)["box_labels"]) == 0


def test_a_box_that_turns_becomes_the_box_around_it() -> None:
    out = T.RandomAffine((45, 45))(objects([[4.0, 4, 6, 6]]))
    half = 2**0.5
    assert np.allclose(out["boxes"].numpy(), [[5 - half, 5 - half, 5 + half, 5 + half]], atol=1e-6)


def test_a_line_and_a_point_count_by_their_centre() -> None:
    out = T.CenterCrop(4)(objects([[4.0, 4, 4, 4], [0, 5, 4, 5], [1, 1, 1, 1]]))
    assert out["box_labels"].tolist() == [0]


def test_nan_boxes_stay_to_be_seen() -> None:
    out = T.CenterCrop(4)(objects([[float("nan"), 4, 6, 6]]))
    assert len(out["boxes"]) == 1 and torch.isnan(out["boxes"]).any()


def test_suffixes_are_groups_of_their_own() -> None:
    s = objects(BOXES) | {"boxes_20m": torch.tensor([[0.0, 0, 1, 1], [2, 2, 3, 3]]), "box_labels_20m": torch.arange(2)}
    s |= {"image_20m": torch.zeros(1, 5, 5)}
    out = T.CenterCrop(4)(s)
    assert out["boxes_20m"].tolist() == [[1, 1, 2, 2]] and out["box_labels_20m"].tolist() == [1]
    assert len(out["boxes"]) == len(out["box_labels"]) == len(out["instances"]) > 2


def test_rows_that_disagree() -> None:
    with pytest.raises(TransformError, match=r"'box_labels' has \[1\] rows and 'boxes' \[6\]; an object has one row"):
        T.CenterCrop(4)(objects(BOXES) | {"box_labels": torch.arange(1)})
    with pytest.raises(TransformError, match="'boxes' holds whole numbers, which this move would round"):
        T.RandomAffine((30, 30))(objects([[1, 1, 2, 2]]))
    assert T.CenterCrop(4)(objects([[4, 4, 6, 6]]))["boxes"].tolist() == [[1, 1, 3, 3]]


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (
            T.RandomCrop(64),
            r"RandomCrop: a window of 64 pixels does not fit into a sample of 12 x 24; sample larger.*T.Pad",
        ),
        (T.CenterCrop((12, 30)), "CenterCrop: a window of 30 pixels does not fit"),
        (
            T.RandomCrop((6, 8)),
            r"RandomCrop: 6 x 8 pixels do not fit rasters of 2 x 4, 6 x 12, 12 x 24.*use 6 or 12 instead of 8",
        ),
        (T.CenterCrop(3), "use 6 instead of 3"),
        (T.Pad(25), "use 24 or 30 instead of 25"),
        (T.Resize(32), "Resize: 32 x 32 pixels .* use 30 or 36 instead of 32"),
        (T.RandomResizedCrop(32), "use 30 or 36 instead of 32"),
    ],
)
def test_sizes_that_do_not_fit(batch: Make, move: T.Transform, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        move(batch([(0, 0), (0, 1)], size=(12, 24), ratios=RATIOS))


@pytest.mark.parametrize("kind", ["RandomCrop", "CenterCrop", "Pad", "Resize", "RandomResizedCrop"])
@pytest.mark.parametrize("size", [0, -4, (4, 0), (4, 4, 4), 2.5, "big", (1.5, 2)])
def test_bad_sizes(kind: str, size: Any) -> None:
    with pytest.raises(TransformError, match="must be a whole number of pixels, 1 or more"):
        getattr(ANY, kind)(size)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.Pad(), "either size= or multiple="),
        (lambda: T.Pad(4, multiple=4), "either size= or multiple="),
        (lambda: T.Pad(multiple=0), "multiple 0 must be a whole number"),
        (lambda: T.Pad(4, fill=float("nan")), "fill nan must be a finite number"),
        (lambda: T.RandomCrop(4, min_visible=1.5), "min_visible 1.5 must be a share"),
        (lambda: T.RandomCrop(4, seed=-1), "seed -1 must be"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        make()


def test_multiples_meet_the_lattice(batch: Make) -> None:
    out = T.Pad(multiple=16)(batch([(0, 0)], size=(24, 36), ratios=RATIOS))
    assert out["image"].shape[-2:] == (48, 48) and out["image_60m"].shape[-2:] == (8, 8)


def test_labels_that_are_no_tensor(sample: Make) -> None:
    """Only what drops objects needs to take rows out of them."""
    b = sample(boxes=2) | {"box_labels": ["ship", "car"]}
    del b["instances"], b["corners"]
    assert T.RandomFlip(p=1.0)(b)["box_labels"] is b["box_labels"]
    with pytest.raises(TransformError, match=r"'box_labels' of one sample is list; objects .* from tensors alone"):
        T.RandomCrop(4)(b)
