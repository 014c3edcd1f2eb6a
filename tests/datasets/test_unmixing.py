"""Unmixing scenes: the published files and look-alikes, read beside scipy with Matlab's own reshape."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.io
import torch

from geodata.datasets.unmixing import Cuprite, JasperRidge, Samson, UnmixingScene, Urban
from geodata.errors import BandsError, CatalogError, NoFilesError, ReadError
from geodata.samplers import RandomPatchSampler

TOLERANCE = 1e-5
"""Of the sum of abundances, as the docstring states it."""

SCENES = [Samson, JasperRidge, Urban, Cuprite, UnmixingScene]


def _matlab(matrix, rows, columns):
    """reshape(matrix', rows, columns, []) of Matlab, then channels first."""
    return matrix.T.reshape((rows, columns, -1), order="F").transpose(2, 0, 1)


def _copy(realdata, folder, *names):
    """Link real files, so that nothing is written beside them."""
    for name in names:
        (folder / name).symlink_to(realdata / "unmixing" / name)
    return [scipy.io.loadmat(folder / name) for name in names]


def _check_shares(abundance):
    assert abundance.dtype == torch.float32
    assert float(abundance.min()) >= 0
    assert float((abundance.sum(dim=0) - 1).abs().max()) < TOLERANCE


def _residual(sample, scale=1.0):
    image = sample["image"].double().numpy() * scale
    mixed = np.einsum("pc,phw->chw", sample["endmembers"].double(), sample["abundance"].double())
    return np.linalg.norm(image - mixed) / np.linalg.norm(image)


def test_real_samson(realdata, tmp_path):
    cube, truth = _copy(realdata, tmp_path, "samson_1.mat", "Samson_end.mat")
    ds = Samson(tmp_path)
    sample = ds[0]
    np.testing.assert_array_equal(sample["image"], _matlab(cube["V"], 95, 95).astype(np.float32))
    np.testing.assert_array_equal(sample["abundance"], _matlab(truth["A"], 95, 95).astype(np.float32))
    np.testing.assert_array_equal(sample["endmembers"], truth["M"].T.astype(np.float32))
    assert ds.endmember_names == ("rock", "Tree", "water") and ds.bands.names == tuple(map(str, range(1, 157)))
    assert sample["wavelengths"][[0, -1]].tolist() == [401, 889]
    _check_shares(sample["abundance"])
    # The spectra are normalised: only with the factors that least squares finds do they give the image.
    assert _residual(sample) == pytest.approx(1.505, abs=1e-3)
    sample["endmembers"] *= torch.tensor([[0.4426], [0.5169], [0.0333]])
    assert _residual(sample) == pytest.approx(0.3135, abs=1e-3)
    sample["abundance"] = sample["abundance"].transpose(1, 2)
    assert _residual(sample) > 0.55


def test_real_jasper_ridge(realdata, tmp_path):
    cube, truth = _copy(realdata, tmp_path, "jasperRidge2_R198.mat", "JasperRidge2_end4.mat")
    ds = JasperRidge(tmp_path)
    sample = ds[0]
    np.testing.assert_array_equal(sample["image"], _matlab(cube["Y"], 100, 100))
    np.testing.assert_array_equal(sample["abundance"], _matlab(truth["A"], 100, 100).astype(np.float32))
    assert ds.endmember_names == ("tree", "water", "dirt", "road")
    assert ds.bands.names == tuple(map(str, cube["SlectBands"].ravel()))
    assert ds.bands[0].scale == 1 / 5000 and sample["wavelengths"].isnan().all()
    _check_shares(sample["abundance"])
    assert _residual(sample, ds.bands[0].scale) == pytest.approx(0.1745, abs=1e-3)


def test_real_cuprite_spectra(realdata, tmp_path):
    (truth,) = _copy(realdata, tmp_path, "Cuprite12_groundTruth.mat")
    Cuprite.fake(tmp_path / "made")
    (tmp_path / "made/CupriteS1_R188.mat").rename(tmp_path / "CupriteS1_R188.mat")
    (tmp_path / "made/groundTruth_Cuprite_end12/groundTruth_Cuprite_nEnd12.mat").unlink()
    ds = Cuprite(tmp_path)
    sample = ds[0]
    kept = truth["slctBnds"].ravel().astype(int) - 1
    assert len(kept) == 188 and kept[0] == 2
    np.testing.assert_array_equal(sample["endmembers"], truth["M"][kept].T.astype(np.float32))
    np.testing.assert_allclose(sample["wavelengths"], truth["waveLength"].ravel()[kept] * 1000, rtol=1e-6)
    assert (
        ds.endmember_names[0] == "Alunite" and ds.endmember_names[4] == "Kaolinite_1" and len(ds.endmember_names) == 12
    )
    assert "abundance" not in sample


@pytest.mark.parametrize("cls", SCENES)
def test_look_alike(tmp_path, cls):
    cls.fake(tmp_path)
    ds = cls(tmp_path)
    sample = ds[0]
    image, shape = sample["image"], sample["image"].shape[1:]
    assert shape[0] != shape[1] and image.dtype == torch.float32
    assert (
        sample["endmembers"].shape == (len(ds.endmember_names), len(image)) == (len(ds.endmember_names), len(ds.bands))
    )
    assert sample["wavelengths"].shape == (len(image),) and sample["wavelengths"].dtype == torch.float32
    if "abundance" in sample:
        _check_shares(sample["abundance"])
        assert sample["bands_abundance"].names == ds.endmember_names
    if cls in (JasperRidge, UnmixingScene):
        assert _residual(sample, ds.bands[0].scale) < 1e-3
    again = pickle.loads(pickle.dumps(cls(tmp_path)))[0]  # as a worker gets it, with the catalog that was kept
    torch.testing.assert_close(again["image"], image, rtol=0, atol=0)
    assert set(again) == set(sample)


@pytest.mark.parametrize("cls", [Samson, JasperRidge, Urban, UnmixingScene])
def test_pixels_of_a_scene_that_is_not_square(tmp_path, cls):
    cls.fake(tmp_path)
    sample = cls(tmp_path)[0]
    path = next(p for p in tmp_path.rglob("*.mat") if {"Y", "V"} & set(scipy.io.loadmat(p)))
    stored = scipy.io.loadmat(path)
    matrix = stored["V"] if cls is Samson else stored["Y"]
    rows, columns = sample["image"].shape[1:]
    row, column = 3, 5
    pixel = row * columns + column if cls is UnmixingScene else column * rows + row
    np.testing.assert_array_equal(sample["image"][:, row, column], matrix[:, pixel].astype(np.float32))


def test_abundances_follow_windows(tmp_path):
    Samson.fake(tmp_path)
    ds = Samson(tmp_path)
    whole = ds[0]
    tile = ds.tile(4)[1]
    torch.testing.assert_close(tile["abundance"], whole["abundance"][:, :4, 4:8], rtol=0, atol=0)
    for query in RandomPatchSampler(ds, size=4, length=3, seed=0):
        patch = ds[query]
        row, column = _corner(patch, whole)
        cut = (slice(None), slice(row, row + 4), slice(column, column + 4))
        torch.testing.assert_close(patch["abundance"], whole["abundance"][cut], rtol=0, atol=0)
        torch.testing.assert_close(patch["endmembers"], whole["endmembers"], rtol=0, atol=0)


def _corner(patch, whole):
    """Find a patch in the image by its pixels."""
    height, width = patch["image"].shape[1:]
    for row in range(whole["image"].shape[1] - height + 1):
        for column in range(whole["image"].shape[2] - width + 1):
            if torch.equal(whole["image"][:, row : row + height, column : column + width], patch["image"]):
                return row, column
    raise AssertionError("the patch is not in the image")


def test_bands_choose_channels_of_image_and_spectra(tmp_path):
    JasperRidge.fake(tmp_path)
    whole = JasperRidge(tmp_path)[0]
    ds = JasperRidge(tmp_path, bands=["113", "4"], dtype=None)
    sample = ds[0]
    places = [104, 0]  # channels 108 to 112 are left out
    assert sample["image"].dtype == torch.uint16 and sample["abundance"].dtype == torch.float32
    np.testing.assert_array_equal(sample["image"], whole["image"][places])
    np.testing.assert_array_equal(sample["endmembers"], whole["endmembers"][:, places])
    np.testing.assert_array_equal(sample["abundance"], whole["abundance"])
    assert sample["wavelengths"].shape == (2,)
    only = JasperRidge(tmp_path, bands=["113", "water"])[0]
    np.testing.assert_array_equal(only["abundance"], whole["abundance"][1:2])
    assert not {"image", "endmembers"} & set(JasperRidge(tmp_path, keys=["abundance"])[0])
    np.testing.assert_array_equal(JasperRidge(tmp_path, dtype=torch.int16)[0]["abundance"], whole["abundance"])
    with pytest.raises(BandsError, match="108"):
        JasperRidge(tmp_path, bands=["108"])


def test_a_file_of_all_channels(tmp_path):
    Cuprite.fake(tmp_path)
    kept = Cuprite(tmp_path)[0]
    path = tmp_path / "CupriteS1_R188.mat"
    stored = scipy.io.loadmat(path)
    every = np.zeros((224, stored["Y"].shape[1]), np.uint16)
    every[stored["SlectBands"].ravel() - 1] = stored["Y"]
    path.unlink()
    values = {k: v for k, v in stored.items() if not k.startswith("__")} | {"Y": every}
    scipy.io.savemat(tmp_path / "CupriteS1_F224.mat", values)
    same = Cuprite(tmp_path)
    torch.testing.assert_close(same[0]["image"], kept["image"], rtol=0, atol=0)
    torch.testing.assert_close(same[0]["endmembers"], kept["endmembers"], rtol=0, atol=0)
    ds = Cuprite(tmp_path, kept=False)
    np.testing.assert_array_equal(ds[0]["image"], every.astype(np.float32).reshape(224, 7, 10).transpose(0, 2, 1))
    assert ds[0]["endmembers"].shape == (12, 224) and ds.bands.names[0] == "1"


def test_spectra_of_kept_channels_are_nan_elsewhere(tmp_path):
    JasperRidge.fake(tmp_path)
    with pytest.raises(CatalogError, match="kept=False needs a file with all"):
        JasperRidge(tmp_path, kept=False)
    stored = scipy.io.loadmat(tmp_path / "jasperRidge2_R198.mat")
    values = {k: v for k, v in stored.items() if not k.startswith("__")} | {"Y": np.zeros((224, 96), np.uint16)}
    scipy.io.savemat(tmp_path / "jasperRidge2_F224_2.mat", values)
    spectra = JasperRidge(tmp_path, data="jasperRidge2_F224_2.mat", kept=False)[0]["endmembers"]
    removed = [i for i in range(224) if i + 1 not in stored["SlectBands"]]
    assert np.flatnonzero(spectra.isnan().all(dim=0)).tolist() == removed and len(removed) == 26


@pytest.mark.parametrize("count", [4, 5, 6])
def test_urban_has_three_ground_truths(tmp_path, count):
    Urban.fake(tmp_path)
    ds = Urban(tmp_path, endmembers=count)
    assert ds[0]["abundance"].shape == (count, 11, 13) and len(ds.endmember_names) == count
    assert ds.endmember_names[-1] == {4: "Roof", 5: "Dirt", 6: "Dirt"}[count]
    with pytest.raises(CatalogError, match="4, 5 and 6"):
        Urban(tmp_path, endmembers=3)
    with pytest.raises(CatalogError, match="5 endmembers were asked for, and there are 6"):
        Urban(tmp_path, endmembers=5, truth="groundTruth_Urban_end6/end6_groundTruth.mat")


def _mixture():
    draw = np.random.default_rng(0)
    shares = draw.dirichlet(np.ones(3), (7, 5)).transpose(2, 0, 1)
    spectra = draw.uniform(0, 1, (3, 20))
    return spectra, shares, np.einsum("pc,phw->chw", spectra, shares)


@pytest.mark.parametrize("variant", ["hysupp", "autoencoders", "misicnet", "planes", "tall"])
def test_other_copies(tmp_path, variant):
    spectra, shares, cube = _mixture()
    flat, part = cube.reshape(20, -1), shares.reshape(3, -1)
    if variant == "hysupp":
        _save(tmp_path, "DC1", Y=flat, E=spectra.T, A=part, H=7, W=5, p=3, L=20, N=35, D=np.ones((20, 50)), M=50)
    if variant == "autoencoders":
        _save(tmp_path, "Samson", Y=flat, GT=spectra, S_GT=shares.transpose(1, 2, 0), lines=7, cols=5)
    if variant == "misicnet":
        _save(tmp_path, "Y_clean", Y_clean=cube.transpose(1, 2, 0))
        _save(tmp_path, "A_true", A_true=shares.transpose(1, 2, 0))
        _save(tmp_path, "E", E=spectra.T)
    if variant == "planes":
        _save(tmp_path / "Data", "x", img=cube, nRow=7, nCol=5)
        _save(tmp_path / "Truth", "y", A=shares, M=spectra)
    if variant == "tall":
        _save(tmp_path, "x", Y=flat.T, A=part.T, E=spectra.T, H=7, W=5)
    sample = UnmixingScene(tmp_path)[0]
    np.testing.assert_array_equal(sample["image"], cube.astype(np.float32))
    np.testing.assert_array_equal(sample["abundance"], shares.astype(np.float32))
    np.testing.assert_array_equal(sample["endmembers"], spectra.astype(np.float32))


def _save(folder, name, **values):
    folder.mkdir(exist_ok=True)
    scipy.io.savemat(folder / f"{name}.mat", values)


def test_pixels_in_the_other_order_are_seen(tmp_path):
    spectra, shares, cube = _mixture()
    _save(tmp_path, "Samson", Y=_columns(cube), GT=spectra, S_GT=shares.transpose(1, 2, 0), lines=7, cols=5)
    with pytest.raises(CatalogError, match="say order='columns'"):
        UnmixingScene(tmp_path)
    sample = UnmixingScene(tmp_path, order="columns")[0]
    np.testing.assert_array_equal(sample["image"], cube.astype(np.float32))
    with pytest.raises(CatalogError, match="'diagonal'"):
        UnmixingScene(tmp_path, order="diagonal")


def test_a_matrix_without_sizes_needs_them(tmp_path):
    _, _, cube = _mixture()
    _save(tmp_path, "x", Y=cube.reshape(20, -1))
    with pytest.raises(CatalogError, match="say size="):
        UnmixingScene(tmp_path)
    ds = UnmixingScene(tmp_path, size=(7, 5), order="rows", wavelengths=range(400, 600, 10))
    np.testing.assert_array_equal(ds[0]["image"], cube.astype(np.float32))
    assert ds.bands[3].wavelength == 430 and ds.endmember_names == () and set(ds[0]) >= {"image", "wavelengths"}
    with pytest.raises(CatalogError, match="no image of 7 x 6"):
        UnmixingScene(tmp_path, size=(7, 6), order="rows")
    with pytest.raises(CatalogError, match="rows and of columns"):
        UnmixingScene(tmp_path, size=(7, -5), order="rows")
    with pytest.raises(BandsError, match="3 wavelengths for 20"):
        UnmixingScene(tmp_path, size=(7, 5), order="rows", wavelengths=[1, 2, 3])


def test_files_of_other_scenes_say_nothing(tmp_path):
    spectra, shares, cube = _mixture()
    _save(tmp_path, "x", img=cube, nRow=7, nCol=5)
    _save(tmp_path, "y", A=shares, M=spectra)
    names = np.array(["1-a", "2-b", "3-c"], dtype=object)
    _save(tmp_path, "z", cood=names, waveLength=np.linspace(0.4, 0.6, 20), M=np.ones((224, 3)))
    ds = UnmixingScene(tmp_path)
    assert ds.endmember_names[0] == "endmember 1" and ds[0]["wavelengths"].isnan().all() and len(ds.bands) == 20
    told = UnmixingScene(tmp_path, truth=["y.mat", "z.mat"], data="x.mat", keys=["image", "wavelengths", "abundance"])
    assert told.endmember_names == ("a", "b", "c") and told.bands.wavelengths[-1] == pytest.approx(600)


def test_a_changed_file_is_seen(tmp_path):
    Samson.fake(tmp_path)
    Samson(tmp_path)
    path = tmp_path / "Data_Matlab/samson_1.mat"
    stored = scipy.io.loadmat(path)
    values = {"V": stored["V"][:, :117], "nRow": 13, "nCol": 9, "nBand": 156}
    scipy.io.savemat(path, values)
    with pytest.raises(CatalogError, match="no image of 13 x 9"):
        Samson(tmp_path)
    assert Samson(tmp_path, keys=["image"])[0]["image"].shape == (156, 13, 9)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(NoFilesError, match=r"no file called samson_1\.mat.*below"):
        Samson(tmp_path)
    with pytest.raises(NoFilesError, match=r"no \.mat file"):
        UnmixingScene(tmp_path)
    Samson.fake(tmp_path)
    (tmp_path / "GroundTruth/end3.mat").unlink()
    with pytest.raises(NoFilesError, match=r"no file called end3\.mat"):
        Samson(tmp_path)
    assert set(Samson(tmp_path, keys=["image", "wavelengths"])[0]) >= {"image", "wavelengths"}
    with pytest.raises(NoFilesError, match="nothing_here"):
        Samson(tmp_path, truth="nothing_here.mat")


def test_files_that_may_both_be_meant_are_refused(tmp_path):
    Samson.fake(tmp_path)
    Samson.fake(tmp_path / "old")
    with pytest.raises(CatalogError, match=r"2 files may be meant.*say which with data="):
        Samson(tmp_path)
    ds = Samson(tmp_path, data="Data_Matlab/samson_1.mat", truth="groundtruth/END3.mat")
    assert ds[0]["abundance"].shape == (3, 14, 9)
    with pytest.raises(CatalogError, match="2 files hold a cube"):
        UnmixingScene(tmp_path)
    with pytest.raises(CatalogError, match=r"several arrays may be meant.*truth="):
        UnmixingScene(tmp_path, data="Data_Matlab/samson_1.mat")


@pytest.mark.parametrize(
    ("file", "values", "error", "said"),
    [
        ("Data_Matlab/samson_1.mat", {"cube": np.ones((156, 126))}, CatalogError, r"no cube.*cube \(156, 126\)"),
        ("Data_Matlab/samson_1.mat", {"V": "text"}, CatalogError, "no cube"),
        ("Data_Matlab/samson_1.mat", {"V": np.ones((100, 126)), "nRow": 14, "nCol": 9}, CatalogError, "100 channels"),
        ("GroundTruth/end3.mat", {"X": np.ones((156, 3))}, CatalogError, r"no endmembers.*X \(156, 3\)"),
        ("GroundTruth/end3.mat", {"M": np.ones((156, 3))}, CatalogError, r"no abundances.*M \(156, 3\)"),
        ("GroundTruth/end3.mat", {"M": np.ones((100, 3)), "A": np.ones((3, 126))}, CatalogError, "of 156 channels"),
        ("GroundTruth/end3.mat", {"M": np.ones((156, 3)), "A": np.ones((3, 99))}, CatalogError, "no image of 14 x 9"),
        ("GroundTruth/end3.mat", {"M": np.ones((156, 3)), "A": np.ones((4, 126))}, CatalogError, "4 and spectra of 3"),
        (
            "GroundTruth/end3.mat",
            {"M": np.ones((156, 3)), "A": np.ones((3, 126)), "cood": np.array(["1-a", "2-b"], dtype=object)},
            ReadError,
            "2 names for 3",
        ),
    ],
)
def test_files_with_other_arrays_are_refused(tmp_path, file, values, error, said):
    Samson.fake(tmp_path)
    scipy.io.savemat(tmp_path / file, values)
    with pytest.raises(error, match=said):
        Samson(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nRow": np.nan}, "nRow is nan"),
        ({"nCol": -8}, "nCol is -8"),
        ({"maxValue": 0}, "maxValue is 0"),
        ({"SlectBands": np.arange(198)}, "different numbers from 1 to 224"),
        ({"SlectBands": np.full(198, 4)}, "different numbers from 1 to 224"),
        ({"SlectBands": np.arange(1, 200)}, "198 channels, where 199"),
        ({"cood": np.array(["1-a", "2-b", "3-c", "4-4"], dtype=object)}, "channels by their numbers"),
    ],
)
def test_numbers_that_cannot_be_are_refused(tmp_path, change, said):
    JasperRidge.fake(tmp_path)
    path = tmp_path / "jasperRidge2_R198.mat"
    stored = scipy.io.loadmat(path)
    scipy.io.savemat(path, {k: v for k, v in stored.items() if not k.startswith("__")} | change)
    with pytest.raises(CatalogError, match=said):
        JasperRidge(tmp_path)


def test_a_file_of_version_7_3(tmp_path):
    h5py = pytest.importorskip("h5py")
    spectra, shares, cube = _mixture()
    values = {"Y": _columns(cube), "A": _columns(shares), "M": spectra.T, "nRow": [[7.0]], "nCol": [[5.0]]}
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        for name, value in values.items():
            file[name] = np.asarray(value).T  # Matlab stores the first axis fastest
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with (tmp_path / "x.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    sample = UnmixingScene(tmp_path)[0]
    np.testing.assert_array_equal(sample["image"], cube.astype(np.float32))
    np.testing.assert_array_equal(sample["abundance"], shares.astype(np.float32))
    np.testing.assert_array_equal(sample["endmembers"], spectra.astype(np.float32))


def _columns(planes):
    return planes.transpose(0, 2, 1).reshape(len(planes), -1)


def test_torn_file_is_refused(tmp_path):
    Samson.fake(tmp_path)
    path = tmp_path / "Data_Matlab/samson_1.mat"
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(ReadError, match="samson_1"):
        Samson(tmp_path)
