"""Two small models: one that sees the surroundings of a pixel, one that sees the pixel alone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PixelModel", "TinyUNet"]


class PixelModel(nn.Conv2d):
    """Multinomial logistic regression on the bands of one pixel: a convolution of 1 x 1.

    Parameters
    ----------
    channels : int, bands of the image
    classes : int
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes, 1)

    def fit(self, pixels: Tensor, labels: Tensor, weight: Tensor, *, steps: int = 100) -> PixelModel:
        """Find the optimum by L-BFGS: the problem is convex, so the baseline is as good as it can be.

        Parameters
        ----------
        pixels : (N, C) float, standardised
        labels : (N,) int64
        weight : (K,) float, weight of each class
        steps : int, L-BFGS iterations at most
        """
        optimiser = torch.optim.LBFGS(self.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            scores = F.linear(pixels, self.weight[:, :, 0, 0], self.bias)
            # a little decay keeps the optimum finite where classes can be parted without an error
            loss = F.cross_entropy(scores, labels, weight=weight) + 1e-4 * self.weight.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        return self.eval()


class TinyUNet(nn.Module):
    """A U-Net of three levels on top of a pixel model: each output pixel sees a square of about 40 pixels.

    Its scores are added to those of the pixel model that it starts from, so it has to learn only what the surroundings
    add. That matters where there are many bands and few labels.

    Parameters
    ----------
    pixel : PixelModel, fitted; it is copied, and trained further
    width : int, features at full resolution
    """

    def __init__(self, pixel: PixelModel, *, width: int = 16) -> None:
        super().__init__()
        self.pixel = copy.deepcopy(pixel)
        self.mix = nn.Conv2d(pixel.in_channels, width, 1)
        self.down = nn.ModuleList([_block(width, width), _block(width, 2 * width), _block(2 * width, 4 * width)])
        self.up = nn.ModuleList([_block(6 * width, 2 * width), _block(3 * width, width)])
        self.head = nn.Conv2d(width, pixel.out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) float to (B, K, H, W) scores; any H and W."""
        height, width = image.shape[-2:]
        x = F.pad(self.mix(image), (0, -width % 4, 0, -height % 4), mode="replicate")
        full = self.down[0](x)
        half = self.down[1](F.max_pool2d(full, 2))
        x = self.down[2](F.max_pool2d(half, 2))
        x = self.up[0](torch.cat([half, _double(x)], dim=1))
        x = self.up[1](torch.cat([full, _double(x)], dim=1))
        scores: Tensor = self.pixel(image) + self.head(x)[..., :height, :width]
        return scores


def _block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
