"""Classified hyperspectral scenes: look-alikes against scipy, and the published maps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io
import torch

from geodata import unmixing
from geodata.datasets import hsi_scenes
from geodata.datasets.hsi_scenes import IndianPines, PaviaCentre, PaviaUniversity, Salinas
from geodata.errors import CatalogError, NoFilesError

ALL = [(IndianPines, 200, 16), (PaviaUniversity, 103, 9), (PaviaCentre, 102, 9), (Salinas, 204, 16)]


def _stored(root, cls):
    files = cls.files
    cube = scipy.io.loadmat(root / files.cube)[files.cube_key]
    return cube, scipy.io.loadmat(root / files.truth)[files.truth_key]


@pytest.mark.parametrize(("cls", "channels", "classes"), ALL)
def test_sample_is_what_is_stored(tmp_path, cls, channels, classes):
    cls.fake(tmp_path)
    cube, truth = _stored(tmp_path, cls)
    ds = cls(tmp_path)
    sample = ds[0]
    assert len(ds) == 1 and len(ds.bands) == channels and len(ds.classes) == classes
    assert sample["image"].dtype == torch.float32 and sample["mask"].dtype == torch.int64
    np.testing.assert_array_equal(sample["image"], cube.transpose(2, 0, 1))
    assert cube.shape[0] != cube.shape[1]  # a wrong order of the axes shows
    np.testing.assert_array_equal(sample["mask"], np.where(truth == 0, -100, truth.astype(int) - 1))
    assert set(np.unique(truth)) == set(range(classes + 1))
    tile = ds.tile(16)[1]
    np.testing.assert_array_equal(tile["image"][:, :, :1], cube[:16, 16:17].transpose(2, 0, 1))


def test_options(tmp_path):
    Salinas.fake(tmp_path)
    cube, truth = _stored(tmp_path, Salinas)
    sample = Salinas(tmp_path, bands=["7", "3"], dtype=None, ignore_index=255)[0]
    assert sample["image"].dtype == torch.int16
    np.testing.assert_array_equal(sample["image"], cube[..., [6, 2]].transpose(2, 0, 1))
    assert (sample["mask"].numpy() == 255).sum() == (truth == 0).sum() > 0
    (tmp_path / Salinas.files.truth).unlink()
    assert "mask" not in Salinas(tmp_path, keys=["image"])[0]
    with pytest.raises(NoFilesError, match=r"Salinas_gt\.mat"):
        Salinas(tmp_path)


def test_names_match_in_both_cases(tmp_path):
    Salinas.fake(tmp_path)
    cube, truth = _stored(tmp_path, Salinas)
    for path in tmp_path.glob("*.mat"):
        path.unlink()
    scipy.io.savemat(tmp_path / "salinas_corrected.mat", {"Salinas_corrected": cube})
    scipy.io.savemat(tmp_path / "SALINAS_GT.mat", {"Salinas_gt": truth})
    np.testing.assert_array_equal(Salinas(tmp_path)[0]["image"], cube.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c, t: {"cube": {"data": c}}, r"'indian_pines_corrected'.*data \(24, 17, 200\)"),
        (lambda c, t: {"cube": {"indian_pines_corrected": c[..., 0]}}, "axes 'h w c'"),
        (lambda c, t: {"cube": {"indian_pines_corrected": np.dstack([c, c[..., :20]])}}, "220 channels, wanted 200"),
        (lambda c, t: {"truth": {"indian_pines_gt": t.T}}, "two scenes"),
        (lambda c, t: {"truth": {"gt": t}}, r"'indian_pines_gt'.*gt \(24, 17\)"),
    ],
)
def test_other_files_are_refused(tmp_path, change, said):
    IndianPines.fake(tmp_path)
    for which, values in change(*_stored(tmp_path, IndianPines)).items():
        scipy.io.savemat(tmp_path / getattr(IndianPines.files, which), values)
    with pytest.raises(CatalogError, match=said):
        IndianPines(tmp_path)


def test_number_without_a_class_is_refused(tmp_path):
    IndianPines.fake(tmp_path)
    _, truth = _stored(tmp_path, IndianPines)
    truth[3, 4] = 17
    scipy.io.savemat(tmp_path / IndianPines.files.truth, {"indian_pines_gt": truth})
    with pytest.raises(CatalogError, match="17"):
        IndianPines(tmp_path)[0]


@pytest.mark.parametrize("cls", [IndianPines, PaviaUniversity, Salinas])
def test_published_maps(realdata, tmp_path, cls):
    # The cubes are too large to be at hand: an empty one carries the real map.
    truth_file = realdata / "hsi_gt" / cls.files.truth
    (tmp_path / truth_file.name).symlink_to(truth_file)
    truth = scipy.io.loadmat(truth_file)[cls.files.truth_key]
    image, mask = cls.spec.contents
    assert truth.shape == image.shape
    cube = np.zeros((*truth.shape, len(image.bands)), dtype=np.uint8)
    scipy.io.savemat(tmp_path / cls.files.cube, {cls.files.cube_key: cube}, do_compression=True)
    found = cls(tmp_path, bands=["1"])[0]["mask"].numpy()
    np.testing.assert_array_equal(found, np.where(truth == 0, -100, truth.astype(int) - 1))
    assert np.bincount(truth.ravel())[1:].tolist() == list(mask.classes.counts)


def test_a_sample_becomes_an_unmixing_problem(tmp_path):
    PaviaUniversity.fake(tmp_path)
    sample = PaviaUniversity(tmp_path)[0]
    made = unmixing.from_classification(sample["image"], sample["mask"], block=3)
    assert made.image.shape == (103, 8, 5) and made.classes == tuple(range(9))
    assert made.valid.any() and not made.valid.all()
    np.testing.assert_allclose(made.abundance.sum(axis=0), made.valid, atol=1e-6)


def test_every_scene_is_exported():
    assert {cls.__name__ for cls, _, _ in ALL} == set(hsi_scenes.__all__)
