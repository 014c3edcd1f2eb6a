"""What every transform promises, checked on all of them: saved as data, pickled, printed, registered."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from geodata import transforms as T
from geodata.bands import Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms import base
from geodata.transforms.base import Needs, check_image
from geodata.transforms.draws import Draws

Make = Callable[..., dict[str, Any]]

ANY: Any = T
"""The same names without their types, to call them wrongly."""


def test_compose_prints_a_line_for_each_step() -> None:
    stats = {"mean": {"B0": 2.0}, "std": {"B0": 1.5}}
    steps = [T.ToFloat(), T.Compose([T.RandomFlip(), T.RandomRotate90()], seed=4), T.Normalize(stats)]
    assert repr(T.Compose(steps, seed=5)).splitlines() == [
        "Compose of 3 steps, seed=5",
        "  0  ToFloat(dtype='float32', lossy=False)                                      image* -> float32",
        "  1  Compose of 2 steps, seed=4",
        "  1.0  RandomFlip(p=0.5, axes=['horizontal', 'vertical'], seed=0)               mirrored, shapes stay",
        "  1.1  RandomRotate90(p=0.75, turns=[1, 2, 3], seed=0)                          turned, H and W may swap",
        "  2  Normalize(stats={'mean': {'B0': 2.0}, 'std': {'B0': 1.5}}, key='image')    "
        "image: (x - mean) / std by band -> normalised",
    ]
    assert repr(T.Compose([])) == "Compose of 0 steps, seed=0"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"transform": "os.system", "params": {}}, "no transform 'os.system'; there are .*RandomFlip"),
        ({"transform": ["RandomFlip"], "params": {}}, "no transform"),
        ({"transform": "_AddOne", "params": {}}, "no transform '_AddOne'"),
        ({"transform": "Transform", "params": {}}, "no transform 'Transform'"),
        ({"transform": "RandomFlip"}, "a saved transform is"),
        ("RandomFlip", "a saved transform is"),
        ({"transform": "RandomFlip", "params": {"p": 0.5, "q": 1}}, "RandomFlip cannot be made .* 'q'"),
        ({"transform": "RandomFlip", "params": [0.5]}, "RandomFlip cannot be made from the parameters"),
        ({"transform": "Compose", "params": {}}, "Compose cannot be made .* 'steps'"),
        ({"transform": "Compose", "params": {"steps": ["RandomFlip"]}}, "a saved transform is"),
        ({"transform": "RandomFlip", "params": {"p": 2}}, "p 2 must be a probability"),
    ],
)
def test_bad_saved_data(data: Any, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        T.Transform.from_dict(data)


def test_from_dict_of_a_class_takes_only_its_own() -> None:
    assert isinstance(T.RandomFlip.from_dict(T.RandomFlip().to_dict()), T.RandomFlip)
    with pytest.raises(TransformError, match=r"describes a RandomFlip, not a Normalize; use Transform.from_dict"):
        T.Normalize.from_dict(T.RandomFlip().to_dict())


def test_a_name_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    with pytest.raises(
        TransformError, match=r"a transform called 'RandomFlip' exists in geodata\.transforms\.geometry\.mirrors"
    ):
        type("RandomFlip", (T.Transform,), {"__module__": "somewhere"})
    mine = [type("Mine", (T.Transform,), {"__module__": "notebook", "config": lambda self: {}}) for _ in range(2)]
    assert type(T.Transform.from_dict({"transform": "Mine", "params": {}})) is mine[1]


class _AddOne(T.Transform):
    """A transform of a user."""

    reads = writes = ("image",)

    def config(self) -> dict[str, Any]:
        return {}

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        return {**batch, "image": batch["image"] + 1}


def test_steps_of_users_stand_between_moves(batch: Make) -> None:
    b = batch([(1, i) for i in range(12)])
    steps = [T.RandomFlip(), _AddOne(), T.RandomRotate90(), _AddOne()]
    out = T.Compose(steps)(b)
    expected = b
    for i, step in enumerate(steps):
        expected = step(expected, Draws().step(0, i))
    assert torch.equal(out["image"], expected["image"]) and out["grid"] == expected["grid"]
    assert not torch.equal(out["image"], b["image"] + 2)


def test_compose_is_a_sequence_of_its_steps() -> None:
    steps = [T.RandomFlip(), T.ToFloat()]
    compose = T.Compose(iter(steps))
    assert len(compose) == 2 and compose[1] is steps[1] and list(compose) == steps
    assert compose.reads[0] == "draw" and len(set(compose.reads)) == len(compose.reads)
    b = {"image": torch.zeros(1, 2, 2)}
    out = T.Compose([])(b)
    assert out == b and out is not b


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ANY.Compose(T.ToFloat()), "Compose takes a list of transforms, got ToFloat"),
        (lambda: ANY.Compose([T.ToFloat(), len]), "step 1 of Compose is builtin_function_or_method"),
        (lambda: ANY.Compose([T.ToFloat], seed=0), "step 0 of Compose is type"),
        (lambda: T.Compose([], seed=-1), "seed -1"),
    ],
)
def test_compose_bad_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        call()


def test_a_transform_without_a_body_says_so() -> None:
    class _Empty(T.Transform):
        pass

    with pytest.raises(NotImplementedError, match=r"_Empty must define run\(\) or plan\(\)"):
        _Empty()({})
    with pytest.raises(NotImplementedError, match=r"_Empty must define config\(\)"):
        _Empty().to_dict()


@pytest.mark.parametrize(
    ("needs", "error", "message"),
    [
        (Needs(states=("reflectance",)), TransformError, "'image' is raw; X takes reflectance"),
        (Needs(bands=("B0", "B8", "B9")), BandsError, "X needs bands that 'image' does not have: B8, B9"),
        (Needs(wavelengths=True), BandsError, "X needs the wavelength of every band of 'image'"),
        (Needs(floating=True), TransformError, "X cannot calculate with int16 numbers of 'image'"),
    ],
)
def test_needs_are_checked(needs: Needs, error: type[Exception], message: str) -> None:
    b = {"image": torch.zeros(2, 3, 3, dtype=torch.int16), "bands": Bands(["B0", "B1"])}
    with pytest.raises(error, match=message):
        check_image(b, "image", needs, who="X")
    assert check_image(b, "image", Needs(), who="X") == (b["image"], b["bands"])


class _Samples(Dataset[dict[str, Any]]):
    def __init__(self, make: Make) -> None:
        self.make = make
        self.transform = T.Compose([T.RandomFlip(), T.RandomRotate90()])

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.transform(self.make(0, index))
        return {key: sample[key] for key in ("key", "image", "mask")}


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_batch_size_change_nothing(sample: Make, batch: Make, workers: int) -> None:
    expected = T.Compose([T.RandomFlip(), T.RandomRotate90()])(batch([(0, i) for i in range(12)]))
    loaded = list(DataLoader(_Samples(sample), batch_size=5, num_workers=workers))
    for key in ("image", "mask"):
        assert torch.equal(torch.cat([b[key] for b in loaded]), expected[key])


class _Recorder(T.Transform):
    """A step that keeps what it saw, as a user's may."""

    reads = writes = ("image",)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def config(self) -> dict[str, Any]:
        return {}

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        self.seen.append(batch["image"])
        return dict(batch)


def test_a_step_writes_only_to_what_nobody_else_holds(batch: Make) -> None:
    stats = {"mean": {"B0": 2.0, "B1": 3.0}, "std": {"B0": 1.5, "B1": 0.1}}
    recorder = _Recorder()
    b = batch([(1, i) for i in range(4)], size=(8, 8))
    cut, scale = T.CenterCrop(4), T.Normalize(stats)
    expected = scale(cut(b))["image"]
    for steps in ([cut, scale], [cut, recorder, scale], [T.Compose([cut]), T.Compose([recorder, scale])]):
        kept = b["image"].clone()
        assert torch.equal(T.Compose(steps)(b)["image"], expected)
        assert torch.equal(b["image"], kept), "the batch of the caller"
    for seen in recorder.seen:
        assert torch.equal(seen, cut(b)["image"]), "what a step keeps is not written over"


def test_memory_is_used_again_once_nobody_holds_it(batch: Make) -> None:
    compose = T.Compose([T.RandomCrop(6), T.RandomFlip()])
    b = batch([(1, i) for i in range(4)], size=(8, 8))
    kept = [compose(b)["image"] for _ in range(3)]
    assert len({image.data_ptr() for image in kept}) == 3
    assert all(torch.equal(image, kept[0]) for image in kept)
    view = compose(b)["image"][0, 0].numpy()
    before = view.copy()
    for _ in range(3):
        compose(b)
    assert (view == before).all(), "a view keeps the memory"
    # Masks of this batch have as many bytes, so the two may change places.
    assert len({compose(b)["image"].data_ptr() for _ in range(8)}) <= 2
    again = pickle.loads(pickle.dumps(copy.deepcopy(compose)))
    assert torch.equal(again(b)["image"], kept[0])
