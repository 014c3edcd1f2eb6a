"""Stratified pixels of whole scenes, against the published algorithm written out plainly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from makers import north_up, write_tif
from sampler_laws import check_laws
from scipy.stats import chisquare

from geodata.datasets import RasterDataset
from geodata.errors import SamplerError
from geodata.samplers.pixels import StratifiedPixelSampler, pixel_split

SCENES = {"Indian_pines_gt": "indian_pines_gt", "PaviaU_gt": "paviaU_gt", "Salinas_gt": "salinas_gt"}


@pytest.fixture(params=SCENES)
def ground_truth(request, realdata):
    from scipy.io import loadmat

    return loadmat(realdata / "hsi_gt" / f"{request.param}.mat")[SCENES[request.param]]


def toy(seed=0, shape=(30, 20), classes=4):
    return np.random.default_rng(seed).choice(classes + 1, shape, p=[0.5] + [0.5 / classes] * classes)


def counts_of_batches(pixels_per_class, a):
    """FreeNet's loop: slices of every class until none has pixels left."""
    batches, k = [], 0
    while True:
        taken = {c: len(range(k * a, min((k + 1) * a, n))) for c, n in pixels_per_class.items()}
        if not any(taken.values()):
            return batches
        batches.append({c: n for c, n in taken.items() if n})
        k += 1


def classes_of(query, labels):
    return dict(Counter(int(labels[p]) for p in query.pixels))


@pytest.mark.parametrize("per_class", [1, 7, 10, 1000])
def test_batches_are_those_of_the_published_loop(per_class):
    labels = toy()
    sampler = StratifiedPixelSampler(labels, per_class=per_class)
    wanted = counts_of_batches({c: int((labels == c).sum()) for c in range(1, 5)}, per_class)
    queries = list(sampler)
    assert [classes_of(q, labels) for q in queries] == wanted and len(sampler) == len(wanted)
    drawn = Counter(p for q in queries for p in q.pixels)
    assert set(drawn) == set(zip(*map(np.ndarray.tolist, np.nonzero(labels)), strict=True)) and set(drawn.values()) == {
        1
    }
    assert {(q.row, q.window) for q in queries} == {(0, None)}


def test_on_real_label_maps(ground_truth):
    classes = np.unique(ground_truth)[1:]
    split = {"per_class": 200, "short": "keep_one"} if ground_truth.shape == (145, 145) else {"per_class": 200}
    train, test = pixel_split(ground_truth, seed=5, **split)
    assert not (train & test).any() and ((train | test) == (ground_truth > 0)).all()
    n = {int(c): min(200, int((ground_truth == c).sum()) - 1) for c in classes}
    assert {int(c): int(train[ground_truth == c].sum()) for c in classes} == n
    masked = np.where(train, ground_truth, 0)
    queries = list(StratifiedPixelSampler(masked, per_class=10))
    assert [classes_of(q, ground_truth) for q in queries] == counts_of_batches(n, 10) and len(queries) == 20
    drawn = Counter(p for q in queries for p in q.pixels)
    assert sum(drawn.values()) == len(drawn) == train.sum() and all(train[p] for p in drawn)


def test_training_pixels_chosen_by_the_sampler_are_those_of_the_split():
    labels = toy(1)
    for amount in (12, 0.25):
        sampler = StratifiedPixelSampler(labels, train=amount, per_class=5, seed=9)
        train, test = pixel_split(labels, per_class=amount, seed=9)
        assert (sampler.train[0] == train).all() and (sampler.test[0] == test).all()
        assert {p for q in sampler for p in q.pixels} == set(
            zip(*map(np.ndarray.tolist, np.nonzero(train)), strict=True)
        )


def test_fractions_are_rounded_and_leave_one_on_each_side():
    labels = np.repeat([1, 2, 3], [10, 2, 5])[None]
    for fraction, wanted in ((0.25, [3, 1, 1]), (0.01, [1, 1, 1]), (0.99, [9, 1, 4]), (0.5, [5, 1, 3])):
        train, _ = pixel_split(labels, per_class=fraction)
        assert [int(train[labels == c].sum()) for c in (1, 2, 3)] == wanted


def test_every_pixel_is_as_likely_for_training():
    labels = np.ones((5, 6), int)
    chosen = sum(pixel_split(labels, per_class=7, seed=s)[0].astype(int) for s in range(3000))
    assert chisquare(chosen.ravel()).pvalue > 1e-4 and chosen.sum() == 21000
    # Pairs of classes of one size are not chosen alike.
    both = np.repeat([1, 2], 30)[None]
    train, _ = pixel_split(both, per_class=15)
    assert (train[:, :30] != train[:, 30:]).any()


def test_classes_with_too_few_pixels():
    labels = np.repeat([1, 2], [10, 3])[None]
    with pytest.raises(SamplerError, match="class 2 has 3 pixels, and 3 for training would leave none for testing"):
        pixel_split(labels, per_class=3)
    train, test = pixel_split(labels, per_class=5, short="keep_one")
    assert [int(train[labels == c].sum()) for c in (1, 2)] == [5, 2] and test[labels == 2].sum() == 1
    alone = np.array([[1, 1, 1, 2]])
    for options in ({"per_class": 1}, {"per_class": 1, "short": "keep_one"}, {"per_class": 0.5}):
        with pytest.raises(SamplerError, match="class 2 has 1 pixels, and 1 for training"):
            pixel_split(alone, **options)
    assert pixel_split(alone, per_class=1, ignore=(2,))[1].sum() == 2


def test_epochs_shuffle_each_class():
    labels = np.repeat([1, 2], 6)[None]
    first = Counter()
    for epoch in range(2400):
        sampler = StratifiedPixelSampler(labels, per_class=1)
        sampler.set_epoch(epoch)
        one, other = next(iter(sampler)).pixels
        first[one[1], other[1]] += 1
    assert len(first) == 36 and chisquare(list(first.values())).pvalue > 1e-4


def test_background_and_ignored_values():
    labels = np.array([[-100, -1, 0, 0, 1, 1, 7, 255]])

    def classes(**options):
        sampler = StratifiedPixelSampler(labels, **options)
        return sampler.classes, sorted({int(labels[p]) for q in sampler for p in q.pixels})

    with pytest.raises(SamplerError, match="labels hold 0 and -100"):
        classes()
    assert classes(background=None, ignore=(0,)) == ((1, 7, 255), [1, 7, 255])
    assert classes(background=None, ignore=(255,)) == ((0, 1, 7), [0, 1, 7])
    assert classes(background=255) == ((0, 1, 7), [0, 1, 7])
    with pytest.raises(SamplerError, match="hold no class"):
        StratifiedPixelSampler(np.zeros((3, 3), int))


def test_several_scenes():
    scenes = {4: toy(1), 2: toy(2, (10, 50), classes=2)}
    sampler = StratifiedPixelSampler(scenes, per_class=6)
    queries = list(sampler)
    assert [q.row for q in queries] != sorted(q.row for q in queries), "scenes take turns"
    sampler.set_epoch(1)
    assert [q.row for q in sampler] != [q.row for q in queries], "in another order each epoch"
    for row, labels in scenes.items():
        own = [classes_of(q, labels) for q in queries if q.row == row]
        wanted = counts_of_batches({c: int((labels == c).sum()) for c in range(1, 5)}, 6)
        assert sorted(map(repr, own)) == sorted(map(repr, wanted))
        drawn = Counter(p for q in queries if q.row == row for p in q.pixels)
        assert len(drawn) == sum(drawn.values()) == (labels > 0).sum()


def test_the_sample_marks_the_pixels(tmp_path):
    labels = toy(3, (16, 12))
    write_tif(tmp_path / "scene.tif", np.random.default_rng(0).normal(size=(5, 16, 12)).astype(np.float32), north_up())
    scene = RasterDataset(tmp_path)
    seen = torch.zeros(16, 12, dtype=torch.int64)
    for query in StratifiedPixelSampler(labels, per_class=4):
        sample = scene[query]
        assert sample["image"].shape == (5, 16, 12)
        seen += sample["pixels"]
    assert (seen.numpy() == (labels > 0)).all()


@pytest.mark.parametrize("scenes", [toy(5), {0: toy(5), 1: toy(6)}])
def test_laws(scenes):
    def make(**place):
        sampler = StratifiedPixelSampler(scenes, per_class=3, **place)
        sampler.set_epoch(3)
        return sampler

    check_laws(make)


def test_a_state_of_another_plan_is_refused():
    state = StratifiedPixelSampler(toy()).state_dict()
    StratifiedPixelSampler(toy().astype(np.uint8)).load_state_dict(state)
    others = [StratifiedPixelSampler(toy(), per_class=9), StratifiedPixelSampler(toy(), row=1)]
    others += [
        StratifiedPixelSampler(toy(), train=20),
        StratifiedPixelSampler(toy(1)),
        StratifiedPixelSampler(toy(), seed=1),
    ]
    others += [StratifiedPixelSampler(toy().reshape(20, 30))]
    for other in others:
        with pytest.raises(SamplerError, match="another sampler"):
            other.load_state_dict(state)


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        (np.ones((3, 3)), {}, "float64 of shape"),
        (np.ones((3, 3), bool), {}, "bool of shape"),
        (np.ones(9, int), {}, r"shape \(9,\)"),
        (toy(), {"per_class": 0}, "per_class=0"),
        (toy(), {"row": -1}, "row=-1 must be"),
        (toy(), {"train": 0}, "per_class=0 must be a whole number"),
        (toy(), {"train": 1.0}, "per_class=1.0 must be"),
        (toy(), {"train": True}, "per_class=True must be"),
        ({}, {}, "holds no scene"),
    ],
)
def test_what_cannot_be_is_refused(labels, options, said):
    with pytest.raises(SamplerError, match=said):
        StratifiedPixelSampler(labels, **options)
    if options.get("train") is not None:
        with pytest.raises(SamplerError, match="short='all'"):
            pixel_split(labels, short="all")


def test_masks_of_which_0_is_a_class_are_not_taken_for_unlabelled():
    labels = np.array([[0, 0, 1, 1], [-100, 0, 1, -100]])
    for make in (
        lambda **o: StratifiedPixelSampler(labels, per_class=1, **o),
        lambda **o: pixel_split(labels, per_class=1, **o),
    ):
        with pytest.raises(SamplerError, match="0 is a class and background=None"):
            make()
        assert make(background=None)
    assert StratifiedPixelSampler(labels, per_class=1, background=None).classes == (0, 1)


def test_it_says_what_it_is():
    assert repr(StratifiedPixelSampler(np.ones((3, 3), int), per_class=1)) == (
        "StratifiedPixelSampler(9 samples an epoch, epoch 0, seed 0)"
    )
