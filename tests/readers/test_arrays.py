"""Arrays in files: layouts against einops-like rules written out, every container against the array that was put in."""

from __future__ import annotations

import os
import sys
import threading
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from geodata.errors import CatalogError, DtypeError, GeodataError, MissingDependencyError, ReadError, StaleCatalogError
from geodata.readers import arrays
from geodata.readers.layout import parse_layout
from geodata.readers.openfiles import MOST, OpenFiles

CUBE = np.random.default_rng(0).integers(1, 60000, (5, 7, 9)).astype(np.uint16)


def window_of(cube, window, indexes):
    row, col, height, width = window
    return np.stack([cube[i - 1, row : row + height, col : col + width] for i in indexes])


def read(path, inside="", layout="c h w", window=(1, 2, 4, 5), indexes=(1, 2, 3, 4, 5), **options):
    return arrays.read(str(path), inside, layout, window, indexes, **{"validity": "all", **options})


# ---------------------------------------------------------------------- layouts

ORDERS = ["c h w", "h w c", "w h c", "h c w", "t=2 c h w", "c 1 h w t=0", "c (w h=7)", "c (h w=9)", "(h=7 w) c"]
ORDERS += ["(w=9 h) c", "(c h=7) w", "(h=7 c) w", "(c=5 w) h 1"]


def stored(cube, layout):
    """Put a (c, h, w) cube into the axes of a layout, with other numbers at all other positions of fixed axes."""
    out = cube
    axes = ["c", "h", "w"]
    words = layout.replace("(", "( ").replace(")", " )").split()
    names = [w.split("=")[0] for w in words if w[0] in "chw"]
    out = out.transpose([axes.index(n) for n in names])
    shape, sizes, group = [], iter(out.shape), None
    for word in words:
        if word == "(":
            group = 1
        elif word == ")":
            shape, group = [*shape, group], None
        elif group is not None:
            group *= next(sizes)
        elif word[0] in "chw":
            shape.append(next(sizes))
        else:
            shape.append(1)
    out = out.reshape(shape)
    for axis, word in enumerate(w for w in layout.replace("(", "").replace(") ", ")_").split() if w[0] in "t1"):
        if word.startswith("t="):
            position = [i for i, n in enumerate(shape) if n == 1][axis]
            at = int(word[2:])
            parts = [out + 1 + i for i in range(at)] + [out, out + 9]
            out = np.concatenate(parts, axis=position)
    return np.ascontiguousarray(out)


@pytest.mark.parametrize("layout", ORDERS)
@given(data=st.data())
def test_every_layout_shows_the_same_window(layout, data):
    height = data.draw(st.integers(1, 7))
    width = data.draw(st.integers(1, 9))
    window = data.draw(st.integers(0, 7 - height)), data.draw(st.integers(0, 9 - width)), height, width
    indexes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    array, axes = stored(CUBE, layout), parse_layout(layout)
    assert axes.extent(array.shape) == CUBE.shape
    got = axes.take(array, window, [i - 1 for i in indexes])
    assert np.array_equal(got, window_of(CUBE, window, indexes))


def test_a_pair_in_one_axis_is_in_c_order():
    matlab = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # bands, columns, rows
    got = parse_layout("c (w h=4)").take(matlab.reshape(2, 12), (0, 0, 4, 3), [0, 1])
    assert np.array_equal(got, matlab.transpose(0, 2, 1))


def test_without_c_there_is_one_channel(tmp_path):
    np.save(tmp_path / "a.npy", CUBE[0])
    assert arrays.extent_of(str(tmp_path / "a.npy"), "", "h w") == ((1, 7, 9), "uint16")
    assert np.array_equal(read(tmp_path / "a.npy", layout="h w", indexes=(1,)).data, CUBE[:1, 1:5, 2:7])


@pytest.mark.parametrize(
    ("layout", "why"),
    [
        ("", "'h' and 'w' must both be there"),
        ("c h", "'h' and 'w' must both be there"),
        ("h h w", "'h' stands twice"),
        ("c (w h)", r"'\(w h\)' is no axis"),
        ("c (w=3 h=3)", r"'\(w=3 h=3\)' is no axis"),
        ("(c w h=3)", ".*is no axis"),
        ("(h w=2) (c w=3)", "more than one pair"),
        ("c (w h=0)", ".*is no axis"),
        ("c (w h=3", r"'\(' is no axis"),
        ("c h w x", "'x' is no axis"),
        ("t=-1 h w", "'t=-1' is no axis"),
        ("t h w", "'t' is no axis"),
        ("2 h w", "'2' is no axis"),
    ],
)
def test_what_is_no_layout_is_said(layout, why):
    with pytest.raises(CatalogError, match=f"layout '.*': {why}.*wanted the axes"):
        parse_layout(layout)


@pytest.mark.parametrize(
    ("layout", "why", "error"),
    [
        ("h w", "names 2 axes, the array has 3", CatalogError),
        ("c (h w=2) h", "'h' stands twice", CatalogError),
        ("1 h w", "an axis of length 1 has length 5", CatalogError),
        ("t=5 h w", "position 5 of an axis of length 5", StaleCatalogError),
        ("1 1 (h w=2)", "axis of length 1 has length 5", CatalogError),
    ],
)
def test_a_layout_of_another_array_is_refused(tmp_path, layout, why, error):
    np.save(tmp_path / "a.npy", CUBE)
    with pytest.raises(error, match=why):
        read(tmp_path / "a.npy", layout=layout)


def test_a_pair_that_does_not_divide_is_refused():
    with pytest.raises(CatalogError, match="length 12 is no multiple of 5"):
        parse_layout("c (w h=5)").extent((2, 12))


# ---------------------------------------------------------------------- containers


def write(path, data):
    """Write one array and return its name within the file."""
    name = os.fspath(path)
    if name.endswith(".npy"):
        np.save(path, data)
        return ""
    if name.endswith(".npz"):
        np.savez_compressed(path, other=np.zeros(3), x=data)
        return "x"
    if name.endswith("5.mat"):
        savemat(path, {"x": data, "n": 3.0}, do_compression=True)
        return "x"
    if name.endswith("73.mat"):
        write_mat73(path, {"x": data})
        return "x"
    with h5py.File(path, "w") as file:
        file.create_dataset("deep/x", data=data, chunks=True if name.endswith(".hdf5") else None)
    return "deep/x"


def write_mat73(path, variables):
    """What Matlab writes: 512 bytes in front, axes reversed, classes as attributes, cells as references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            if isinstance(value, list):
                cells = []
                for i, text in enumerate(value):
                    cell = file.create_dataset(f"#refs#/{name}{i}", data=np.array([[ord(c)] for c in text], np.uint16))
                    cell.attrs["MATLAB_class"] = np.bytes_("char")
                    cells.append(cell.ref)
                data = file.create_dataset(name, data=np.array([cells], h5py.ref_dtype), dtype=h5py.ref_dtype)
                data.attrs["MATLAB_class"] = np.bytes_("cell")
            elif isinstance(value, str):
                data = file.create_dataset(name, data=np.array([[ord(c)] for c in value], np.uint16))
                data.attrs["MATLAB_class"] = np.bytes_("char")
            else:
                data = file.create_dataset(name, data=value.T, chunks=True)
                data.attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")


CONTAINERS = ["a.npy", "a.npz", "a5.mat", "a73.mat", "a.h5", "a.hdf5", "a.HE5"]


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", "int32", "float32", ">f8"])
def test_every_container_gives_back_what_was_put_in(tmp_path, name, dtype):
    data = (CUBE // 300).astype(dtype)
    inside = write(tmp_path / name, data)
    native = np.dtype(dtype).newbyteorder("=").name
    assert arrays.shape_of(str(tmp_path / name), inside) == ((5, 7, 9), native)
    got = read(tmp_path / name, inside, window=(2, 3, 4, 5), indexes=(5, 1, 1, 3), dtype=native)
    assert np.array_equal(got.data, window_of(data, (2, 3, 4, 5), (5, 1, 1, 3)))
    assert got.data.dtype == native and got.data.dtype.isnative and got.data.flags.writeable and got.valid.all()
    block = arrays.read_block(str(tmp_path / name), inside, (slice(1, 3), 2))
    assert np.array_equal(block, data[1:3, 2]) and block.dtype.isnative
    assert np.array_equal(arrays.load(str(tmp_path / name), inside), data)


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("layout", ["c (w h=7)", "c (h w=9)", "(c h=7) w", "(w=9 h) c", "w c h"])
def test_every_container_is_read_in_every_layout(tmp_path, name, layout):
    inside = write(tmp_path / name, stored(CUBE, layout))
    for window, indexes in (((2, 3, 4, 5), (5, 1, 3)), ((6, 0, 1, 9), (2,)), ((0, 8, 7, 1), (2, 3, 4))):
        got = read(tmp_path / name, inside, layout, window, indexes)
        assert np.array_equal(got.data, window_of(CUBE, window, indexes))


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_missing_array_is_named_with_those_that_there_are(tmp_path, name):
    inside = write(tmp_path / name, CUBE)
    with pytest.raises(ReadError, match=rf"holds no array 'y'; it holds .*{inside} \(5, 7, 9\)"):
        read(tmp_path / name, "y")
    assert arrays.names_in(str(tmp_path / name))[inside] == ((5, 7, 9), "uint16")


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_file_cut_short_is_no_array(tmp_path, name):
    inside = write(tmp_path / name, np.random.default_rng(1).random((60, 70)))
    whole = (tmp_path / name).read_bytes()
    for size in (0, 1, 100, len(whole) // 2):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(ReadError, match=r"cannot (open|read) "):
            arrays.load(str(tmp_path / name), inside)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_damaged_file_is_read_or_refused(tmp_path, name):
    inside = write(tmp_path / name, CUBE)
    whole, rng, refused = (tmp_path / name).read_bytes(), np.random.default_rng(3), 0
    for i in range(40):
        damaged = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 900), 3):
            damaged[at] = rng.integers(0, 256)
        (tmp_path / f"{i}{name}").write_bytes(damaged)
        try:
            arrays.names_in(str(tmp_path / f"{i}{name}"))
            arrays.load(str(tmp_path / f"{i}{name}"), inside)
        except GeodataError:
            refused += 1
    assert refused


@pytest.mark.parametrize("name", [*CONTAINERS, "a.xyz", "a"])
def test_what_is_absent_or_of_no_known_ending_is_said(tmp_path, name):
    with pytest.raises(ReadError, match=r"cannot open .*(No such file|is none of \.npy)"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ReadError, match="is a pipe"):
        read(tmp_path / name)


def test_pickled_objects_are_refused(tmp_path):
    objects = np.array([{"a": 1}, None], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=objects)
    with pytest.raises(ReadError, match="pickled Python objects, which may run code and are not opened"):
        read(tmp_path / "a.npy")
    with pytest.raises(ReadError, match="pickled Python objects, which may run code and are not opened"):
        read(tmp_path / "a.npz", "x")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5"])
def test_complex_numbers_are_refused_truth_and_half_floats_widened(tmp_path, name):
    inside = write(tmp_path / f"c{name}", CUBE.astype(np.complex64))
    with pytest.raises(DtypeError, match="of dtype complex64; whole numbers and floats"):
        read(tmp_path / f"c{name}", inside)
    for dtype, given_as in ((bool, "uint8"), (np.float16, "float32")):
        file = tmp_path / f"{given_as}{name}"
        inside = write(file, (CUBE % 3).astype(dtype))
        assert arrays.shape_of(str(file), inside)[1] == given_as
        got = read(file, inside, dtype=given_as).data
        assert got.dtype == given_as and np.array_equal(got, (CUBE % 3).astype(dtype)[:, 1:5, 2:7])


def test_a_member_of_another_size_than_its_archive_says_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (900,)}")
        archive.writestr("y.txt", b"no array")
    for inside in ("x", "y.txt"):
        with pytest.raises(ReadError, match=r"cannot read x|cannot read /"):
            arrays.load(str(tmp_path / "a.npz"), inside)


# ---------------------------------------------------------------------- what read promises


def test_a_window_outside_missing_bands_and_other_dtypes_are_stale(tmp_path):
    np.save(tmp_path / "a.npy", CUBE)
    for changed in (
        {"window": (-1, 0, 2, 2)},
        {"window": (0, 0, 8, 2)},
        {"window": (0, 5, 2, 5)},
        {"window": (0, 0, 0, 2)},
        {"indexes": (6,)},
        {"indexes": (0,)},
        {"dtype": "int16"},
    ):
        with pytest.raises(StaleCatalogError, match=r"is 7 x 9 pixels, 5 bands, uint16; wanted .* scan again"):
            read(tmp_path / "a.npy", **changed)
    for slices in ((6,), (slice(0, 6),), (slice(2, 2),), (0, 0, 0, 0), (slice(0, 4, 2),), (-1,)):
        with pytest.raises(StaleCatalogError, match="axes of"):
            arrays.read_block(str(tmp_path / "a.npy"), "", slices)


@pytest.mark.parametrize("name", ["a.npy", "a.h5"])
def test_out_is_filled_in_place_and_cast(tmp_path, name):
    data = CUBE.astype(np.float64)
    data[2, 3, 4], data[0, 1, 2] = np.nan, -9999.0
    inside = write(tmp_path / name, data)
    out = np.zeros((2, 4, 5), np.float32)
    got = read(tmp_path / name, inside, indexes=(3, 1), validity="nodata", nodata=-9999.0, dtype="float64", out=out)
    assert got.data is out and np.array_equal(out, data[[2, 0], 1:5, 2:7].astype(np.float32), equal_nan=True)
    expected = np.ones((4, 5), bool)
    expected[2, 2] = expected[0, 0] = False
    assert np.array_equal(got.valid, expected)


def test_nodata_is_compared_before_the_cast(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[16777216, 16777217]], np.int32))
    out = np.zeros((1, 1, 2), np.float32)
    options = {"layout": "h w", "window": (0, 0, 1, 2), "indexes": (1,), "validity": "nodata", "out": out}
    assert read(tmp_path / "a.npy", **options, nodata=16777216).valid.tolist() == [[False, True]]


def test_a_file_written_anew_is_read_anew(tmp_path):
    for name in CONTAINERS:
        for factor in (1, 2, 3):
            inside = write(tmp_path / f"new_{name}", CUBE // factor)
            os.replace(tmp_path / f"new_{name}", tmp_path / name)
            assert np.array_equal(read(tmp_path / name, inside).data, CUBE[:, 1:5, 2:7] // factor)


# ---------------------------------------------------------------------- Matlab and HDF5


def test_both_versions_of_matlab_files_give_names(tmp_path):
    names = ["rock", "Tree", "water  "]
    savemat(tmp_path / "5.mat", {"cood": np.array(names, object)[:, None], "rows": np.array(["ab ", "cde"]), "n": 1.0})
    write_mat73(tmp_path / "73.mat", {"cood": names, "rows": "abc", "n": np.ones((1, 1))})
    for file in ("5.mat", "73.mat"):
        assert arrays.load_texts(str(tmp_path / file), "cood") == ["rock", "Tree", "water"]
        kinds = {name: kind for name, (_, kind) in arrays.names_in(str(tmp_path / file)).items()}
        assert kinds["cood"] == "cell" and kinds["rows"] == "char" and set(kinds) == {"cood", "rows", "n"}
        for inside in ("cood", "rows"):
            with pytest.raises(ReadError, match=f"holds no array '{inside}'; it holds"):
                read(tmp_path / file, inside)
        with pytest.raises(ReadError, match="no list of texts"):
            arrays.load_texts(str(tmp_path / file), "n")
    assert arrays.load_texts(str(tmp_path / "5.mat"), "rows") == ["ab", "cde"]
    assert arrays.load_texts(str(tmp_path / "73.mat"), "rows") == ["abc"]


def test_texts_of_numpy_and_hdf5(tmp_path):
    names = ["Wiese", "Bäume", "x "]
    np.save(tmp_path / "a.npy", np.array(names))
    np.savez(tmp_path / "a.npz", x=np.array([b"ab", b"c"]))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = names
        file["fixed"] = np.array([b"ab", b"c"])
        file["n"] = np.ones(3)
    assert arrays.load_texts(str(tmp_path / "a.npy"), "") == ["Wiese", "Bäume", "x"]
    assert arrays.load_texts(str(tmp_path / "a.npz"), "x") == ["ab", "c"]
    assert arrays.load_texts(str(tmp_path / "a.h5"), "x") == ["Wiese", "Bäume", "x"]
    assert arrays.load_texts(str(tmp_path / "a.h5"), "fixed") == ["ab", "c"]
    with pytest.raises(ReadError, match="no list of texts"):
        arrays.load_texts(str(tmp_path / "a.h5"), "n")
    with pytest.raises(DtypeError, match="of dtype object"):
        arrays.load(str(tmp_path / "a.h5"), "x")


def test_an_hdf5_file_does_not_reach_out_of_its_folder(tmp_path):
    (tmp_path / "in").mkdir()
    write(tmp_path / "secret.h5", CUBE)
    write(tmp_path / "in" / "beside.h5", CUBE)
    (tmp_path / "raw").write_bytes(b"\1" * 16)
    source = h5py.VirtualSource(str(tmp_path / "secret.h5"), "deep/x", CUBE.shape)
    table = h5py.VirtualLayout(CUBE.shape, CUBE.dtype)
    table[:] = source
    with h5py.File(tmp_path / "in" / "a.h5", "w") as file:
        file["away"] = h5py.ExternalLink("../secret.h5", "/deep/x")
        file["folder"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/deep")
        file["soft"] = h5py.SoftLink("/away")
        file["beside"] = h5py.ExternalLink("beside.h5", "/deep/x")
        file.create_virtual_dataset("virtual", table)
        file.create_dataset("raw", (4, 4), "u1", external=[(str(tmp_path / "raw"), 0, 16)])
    href = str(tmp_path / "in" / "a.h5")
    for inside in ("away", "folder/x", "virtual", "raw"):
        with pytest.raises(ReadError, match=r"refers to .* which is no plain path|outside of its folder"):
            arrays.load(href, inside)
    with pytest.raises(ReadError, match="is a link to '/away'; give that path"):
        arrays.load(href, "soft")
    assert np.array_equal(arrays.load(href, "beside"), CUBE)


def test_channels_far_apart_are_read_one_by_one(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=CUBE, chunks=(1, 7, 9))
    assert np.array_equal(read(tmp_path / "a.h5", "x", indexes=(5, 1)).data, CUBE[[4, 0], 1:5, 2:7])


# ---------------------------------------------------------------------- open files


class Opened:
    """A file that knows whether it was closed while in use."""

    layout = ""

    def __init__(self, href):
        self.href = href
        self.closed = False

    def close(self):
        assert not self.closed
        self.closed = True


def test_the_longest_unused_file_is_closed_and_none_in_use(tmp_path):
    files, opened = OpenFiles(), []

    def opener(href):
        opened.append(Opened(href))
        return opened[-1]

    paths = [tmp_path / str(i) for i in range(MOST + 3)]
    for path in paths:
        path.touch()
    with files.lend(str(paths[0]), [str(paths[0])], opener) as first:
        for path in paths[1:]:
            with files.lend(str(path), [str(path)], opener):
                pass
        assert not first.closed and len(files) <= MOST
    assert first.closed
    with files.lend(str(paths[-1]), [str(paths[-1])], opener) as last:
        assert last is opened[-1] and not last.closed
    files.clear()
    assert all(file.closed for file in opened) and len(files) == 0


@pytest.mark.parametrize("name", CONTAINERS)
def test_threads_read_the_same_file_at_once(tmp_path, name):
    inside = write(tmp_path / name, CUBE)
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            row, col = int(rng.integers(0, 5)), int(rng.integers(0, 6))
            got = read(tmp_path / name, inside, window=(row, col, 2, 3)).data
            if not np.array_equal(got, CUBE[:, row : row + 2, col : col + 3]):
                wrong.append((row, col))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_forked_child_opens_its_own_files(tmp_path, name):
    inside = write(tmp_path / name, CUBE)
    assert np.array_equal(read(tmp_path / name, inside).data, CUBE[:, 1:5, 2:7])
    child = os.fork()
    if not child:
        good = np.array_equal(read(tmp_path / name, inside, window=(0, 0, 7, 9)).data, CUBE)
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(read(tmp_path / name, inside, window=(0, 0, 7, 9)).data, CUBE)


@pytest.mark.parametrize(
    ("package", "name", "form"), [("h5py", "a.h5", "array"), ("scipy.io", "a5.mat", "array"), ("lmdb", "a.mdb", "lmdb")]
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, name, form):
    write(tmp_path / name, CUBE) if form == "array" else (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingDependencyError, match=rf"needs {package.split('.')[0]}; .*pip install 'geodata\[formats\]'"
    ):
        read(tmp_path / name, "x", format=form)


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="'raster' is no format of arrays; known are array, lmdb, envi, cube"):
        read(tmp_path / "a.npy", format="raster")


# ---------------------------------------------------------------------- real files


def test_unmixing_scenes(realdata):
    folder = realdata / "unmixing"
    for file, name, side in (("samson_1.mat", "V", 95), ("jasperRidge2_R198.mat", "Y", 100)):
        matrix = loadmat(folder / file)[name]
        cube = matrix.reshape(len(matrix), side, side).transpose(0, 2, 1)  # bands, rows, columns
        got = read(folder / file, name, f"c (w h={side})", (10, 20, 30, 40), (1, 7, 3)).data
        assert np.array_equal(got, cube[[0, 6, 2], 10:40, 20:60]) and got.dtype == matrix.dtype
    assert arrays.load_texts(str(folder / "Samson_end.mat"), "cood") == ["1-rock", "2-Tree", "3-water"]
    assert arrays.load_texts(str(folder / "Cuprite12_groundTruth.mat"), "cood")[-1] == "#12 Chalcedony"
    assert arrays.shape_of(str(folder / "JasperRidge2_end4.mat"), "A") == ((4, 10000), "float64")


def test_hyperspectral_labels(realdata):
    for file, name, shape, classes in (
        ("Indian_pines_gt.mat", "indian_pines_gt", (145, 145), 16),
        ("PaviaU_gt.mat", "paviaU_gt", (610, 340), 9),
        ("Salinas_gt.mat", "salinas_gt", (512, 217), 16),
    ):
        got = read(realdata / "hsi_gt" / file, name, "h w", (0, 0, *shape), (1,))
        assert got.data.shape == (1, *shape) and set(np.unique(got.data)) == set(range(classes + 1))
