"""Principal components and minimum noise fractions, fitted on training pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from geodata.bands import STATES, Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.base import Needs, check_image
from geodata.transforms.draws import Draws
from geodata.transforms.image import check_key, valid_of
from geodata.transforms.spectral.channels import BandMixing, refuse_padded, target_bands

__all__ = ["MNF", "PCA"]

P = TypeVar("P", bound="_Projection")
Array = NDArray[np.float64]


class _Projection(BandMixing):
    """Linear components of the bands: ``forward @ (x - mean)``, and back: ``backward @ y + mean``."""

    prefix: ClassVar[str]
    needs = Needs(floating=True, states=STATES)

    def __init__(
        self,
        bands: Bands | Mapping[str, Any],
        *,
        mean: ArrayLike,
        forward: ArrayLike,
        backward: ArrayLike,
        values: ArrayLike,
        inverse: bool = False,
        key: str = "image",
    ) -> None:
        super().__init__(key)
        self.bands = target_bands(bands)
        self.mean, self.forward_table = _array("mean", mean), _array("forward", forward)
        self.backward_table, self.values = _array("backward", backward), _array("values", values)
        c, n = len(self.bands), self.values.size
        wanted = [(c,), (n, c), (c, n), (n,)]
        got = [a.shape for a in (self.mean, self.forward_table, self.backward_table, self.values)]
        if got != wanted or not 1 <= n <= c:
            raise TransformError(
                f"{n} components of {c} bands take mean, forward, backward and values of shapes {wanted}, got {got}"
            )
        self.back = bool(inverse)
        self.components = Bands([f"{self.prefix}{i}" for i in range(1, n + 1)], "normalised")

    def inverse(self: P) -> P:
        """Return the transform that goes the other way: from components to bands, or from there again to components."""
        return type(self)(**{**self.config(), "inverse": not self.back})

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Project, or come back."""
        who = type(self).__name__
        given, made = (self.components, self.bands) if self.back else (self.bands, self.components)
        if bands.state != given.state:
            raise TransformError(f"{self.key!r} is {bands.state}; this {who} was fitted for {given.state}")
        if len(bands) != len(given):
            raise BandsError(f"{self.key!r} has {len(bands)} bands, {bands!r}; this {who} takes {given!r}")
        order = [i for i in bands.match(given, strict=True) if i is not None]
        moved = image if order == list(range(len(order))) else image[..., order, :, :]
        work = torch.promote_types(image.dtype, torch.float32)
        table, mean = (
            torch.from_numpy(a).to(work).to(image.device)
            for a in (self.backward_table if self.back else self.forward_table, self.mean)
        )
        if self.back:
            out = torch.einsum("kc,...chw->...khw", table, moved.to(work)) + mean[:, None, None]
        else:
            # The mean first: it may be large beside the differences, and digits would be lost in the product.
            out = torch.einsum("kc,...chw->...khw", table, moved.to(work) - mean[:, None, None])
        valid = valid_of(batch, self.key)
        out = out.to(image.dtype)
        return out if valid is None else out.masked_fill_(~valid.unsqueeze(-3), 0.0), made

    def config(self) -> dict[str, Any]:
        """Return the bands, tables, direction and key."""
        return {
            "bands": self.bands.to_dict(),
            "mean": self.mean.tolist(),
            "forward": self.forward_table.tolist(),
            "backward": self.backward_table.tolist(),
            "values": self.values.tolist(),
            "inverse": self.back,
            "key": self.key,
        }

    @property
    def effect(self) -> str:
        """Projects."""
        c, n = len(self.bands), len(self.values)
        return f"{self.key}: {n} components -> {c} bands" if self.back else f"{self.key}: {c} bands -> {n} components"

    def __repr__(self) -> str:
        names = ", ".join(self.bands.names[:3])
        return (
            f"{type(self).__name__}({len(self.values)} components of {len(self.bands)} bands: {names}, ..., "
            f"inverse={self.back}, key={self.key!r})"
        )


class PCA(_Projection):
    """Principal components of the bands, fitted on training pixels by `PCA.fit`.

    Components are called PC1, PC2... in state "normalised". Bands are found by `Bands.match`, in any order; other bands,
    more bands or numbers of another state are refused. Pixels that are not ``valid`` become 0, and a NaN in a valid pixel
    makes all components of that pixel NaN.

    Parameters
    ----------
    bands : what it was fitted on
    mean : (C,) of the training pixels
    forward, backward : (n, C) and (C, n), to the components and back
    values : (n,) variance of each component before whitening, falling
    inverse : go from components to bands; see `inverse`
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If tables do not fit together; on an image that is not floating, of another state, or with filled bands.
    BandsError
        On an image of other bands.

    Examples
    --------
    >>> image = torch.tensor([[[0.0, 1.0, 2.0]], [[0.0, 2.0, 4.0]]])
    >>> sample = {"key": "a", "image": image, "bands": Bands(["B02", "B03"], state="reflectance")}
    >>> pca = PCA.fit([sample], 1)
    >>> out = pca(sample)
    >>> out["bands"].names, torch.allclose(pca.inverse()(out)["image"], image, atol=1e-6)
    (('PC1',), True)
    """

    prefix = "PC"

    @classmethod
    def fit(cls, batches: Iterable[Mapping[str, Any]], n: int, *, whiten: bool = False, key: str = "image") -> PCA:
        """Fit on all valid pixels in one pass, in float64, one sample in memory at a time.

        Each loading of largest magnitude is made positive, so that a fit gives the same signs everywhere.

        Parameters
        ----------
        batches : samples or batches of the training part: a dataset, a loader or a list
        n : number of components, 1 to C
        whiten : scale every component to variance 1
        key : "image" or "image_<name>"

        Raises
        ------
        TransformError
            If there are fewer than two valid pixels, one is not finite, or a component to be whitened does not vary.
        BandsError
            If the bands change on the way.
        """
        bands, pixels, _ = _gather(batches, key, noise=False, who=cls.__name__)
        values, vectors = _eigen(pixels.covariance())
        n = _check_count(n, len(bands))
        forward, values = _signed(vectors.T[:n]), values[:n]
        if not whiten:
            return cls(bands, mean=pixels.mean, forward=forward, backward=forward.T, values=values, key=key)
        if values[-1] <= values[0] * len(bands) * np.finfo(np.float64).eps:
            varying = int((values > values[0] * len(bands) * np.finfo(np.float64).eps).sum())
            raise TransformError(f"only {varying} of {n} components vary; fewer components, or whiten=False")
        scale = np.sqrt(values)
        whitened, back = forward / scale[:, None], forward.T * scale
        return cls(bands, mean=pixels.mean, forward=whitened, backward=back, values=values, key=key)


class MNF(_Projection):
    """Minimum noise fractions: components ordered by signal-to-noise ratio, fitted on training pixels by `MNF.fit`.

    They are called MNF1, MNF2...; the noise in each has variance 1 and is independent of that in the others. What is
    taken, refused and done to invalid pixels is as for `PCA`.

    Parameters
    ----------
    bands, mean, forward, backward, inverse, key : as for `PCA`
    values : (n,) variance of each component, in units of its noise: 1 + signal-to-noise ratio, falling

    Examples
    --------
    >>> image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> sample = {"key": "a", "image": image, "bands": Bands(["B02", "B03", "B04"], state="reflectance")}
    >>> mnf = MNF.fit([sample], 3)
    >>> torch.allclose(mnf.inverse()(mnf(sample))["image"], image, atol=1e-5)
    True

    References
    ----------
    .. [1] A. Green, M. Berman, P. Switzer, M. Craig, "A transformation for ordering multispectral data in terms of image
       quality with implications for noise removal", IEEE TGRS 26(1), 1988.
    .. [2] J. Lee, A. Woodyatt, M. Berman, "Enhancement of high spectral resolution remote-sensing data by a
       noise-adjusted principal components transform", IEEE TGRS 28(3), 1990.
    """

    prefix = "MNF"

    @classmethod
    def fit(cls, batches: Iterable[Mapping[str, Any]], n: int, *, key: str = "image") -> MNF:
        """Fit in one pass; as `PCA.fit` otherwise.

        The noise is estimated from differences to the right neighbour, ``(x - right) / sqrt(2)``, where both pixels are
        valid: what changes from pixel to pixel counts as noise.

        Raises
        ------
        TransformError
            As `PCA.fit`, and if no two neighbours are valid, or the noise of some bands depends on that of others, as
            with constant or repeated bands.
        BandsError
            If the bands change on the way.
        """
        bands, pixels, noise = _gather(batches, key, noise=True, who=cls.__name__)
        n = _check_count(n, len(bands))
        strength, axes = _eigen(noise.covariance())
        if strength[-1] <= strength[0] * len(bands) * np.finfo(np.float64).eps:
            raise TransformError(
                f"the noise of the {len(bands)} bands of {key!r} has no {len(bands)} independent parts; take out bands "
                "that are constant, repeated or interpolated from others"
            )
        whitener = axes / np.sqrt(strength) @ axes.T
        values, vectors = _eigen(whitener @ pixels.covariance() @ whitener)
        forward = _signed(vectors.T @ whitener)
        backward = np.linalg.inv(forward)[:, :n]
        return cls(bands, mean=pixels.mean, forward=forward[:n], backward=backward, values=values[:n], key=key)


class _Moments:
    """Mean and covariance of pixels that come in parts."""

    def __init__(self, c: int) -> None:
        self.count = 0
        self.mean: Array = np.zeros(c)
        self._scatter: Array = np.zeros((c, c))

    def add(self, x: Tensor) -> None:
        """Take in more pixels, (C, N) float64 on the CPU."""
        part: Array = x.numpy()
        n = part.shape[1]
        if n == 0:
            return
        mean = part.mean(axis=1)
        part = part - mean[:, None]
        # Chan, Golub, LeVeque 1983: sums of squares around each part's own mean lose no digits.
        shift, total = mean - self.mean, self.count + n
        self._scatter += part @ part.T + np.outer(shift, shift) * (self.count * n / total)
        self.mean = self.mean + shift * (n / total)
        self.count = total

    def covariance(self) -> Array:
        """Return (C, C), divided by the number of pixels less one."""
        return self._scatter / (self.count - 1)


def _gather(
    batches: Iterable[Mapping[str, Any]], key: str, *, noise: bool, who: str
) -> tuple[Bands, _Moments, _Moments]:
    """Bands, moments of all valid pixels, and, if asked for, of the noise in them."""
    check_key(key)
    if isinstance(batches, Mapping) or not (isinstance(batches, Iterable) or hasattr(batches, "__getitem__")):
        raise TransformError(f"{who}.fit takes samples or batches: a dataset, a loader or a list, not one dict")
    first: Bands | None = None
    pixels = differences = _Moments(0)
    for batch in batches:
        image, bands = check_image(batch, key, _Projection.needs, who=f"{who}.fit")
        refuse_padded(batch, key, who=f"{who}.fit")
        if first is None:
            first, pixels, differences = bands, _Moments(len(bands)), _Moments(len(bands))
        if bands != first:
            raise BandsError(f"the bands of {key!r} change on the way: first {first!r}, then {bands!r}")
        for x, valid in _frames(image, valid_of(batch, key)):
            whole = bool(valid.all())
            seen = x.flatten(1) if whole else x[:, valid]
            if not bool(torch.isfinite(seen).all()):
                raise TransformError(f"valid pixels of {key!r} in {batch.get('key')!r:.80} are not finite; mark them")
            pixels.add(seen)
            if noise:
                steps = (x[:, :, :-1] - x[:, :, 1:]) / math.sqrt(2)
                differences.add(steps.flatten(1) if whole else steps[:, valid[:, 1:] & valid[:, :-1]])
    if first is None or pixels.count < 2 or (noise and differences.count < 2):
        what = "pairs of valid neighbours" if noise and pixels.count >= 2 else "valid pixels"
        raise TransformError(f"{who}.fit found fewer than two {what} of {key!r}")
    return first, pixels, differences


def _frames(image: Tensor, valid: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Each (C, H, W) image in float64 on the CPU, with its (H, W) mask."""
    h, w = image.shape[-2:]
    frames = image.detach().reshape(-1, image.shape[-3], h, w)
    masks = [None] * len(frames) if valid is None else valid.reshape(-1, h, w).cpu()
    for x, mask in zip(frames, masks, strict=True):
        yield x.cpu().double(), torch.ones(h, w, dtype=torch.bool) if mask is None else mask


def _eigen(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues falling, not below 0, and their vectors as columns."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def _signed(rows: Array) -> Array:
    """Rows with their entry of largest magnitude positive."""
    largest = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    signed: Array = rows * np.where(largest < 0, -1.0, 1.0)[:, None]
    return signed


def _check_count(n: Any, c: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= c:
        raise TransformError(f"the number of components {n!r} must be 1 to {c}, the number of bands")
    return n


def _array(name: str, value: ArrayLike) -> Array:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array([math.nan])
    if not np.isfinite(array).all():
        raise TransformError(f"{name} must be finite numbers")
    return array
