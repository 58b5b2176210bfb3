"""The noise predictor for colour photographs: convolutions alone, so that any height and width that 8 divides fit and a
part of a picture is treated as the whole is. The service continues the rims of other pictures.

A U-Net without normalisation or biases, as DRUNet (Zhang et al. 2021) is, so that it scales with its input: what it
learned at one level of noise carries over to others. It starts at half the resolution (pixel unshuffling), where a
convolution costs a quarter and sees twice as far.
"""

import torch
import torch.nn.functional as F
from torch import nn

TIMESTEPS = 1000
BETAS = (1e-4, 0.02)  # linear, as in weights/photo/scheduler
DATA = 0.5  # the standard deviation of photographs in [−1, 1], about


def levels() -> torch.Tensor:
    """σ̃ = √((1−ᾱ)/ᾱ) of every timestep."""
    cumprod = torch.cumprod(1 - torch.linspace(*BETAS, TIMESTEPS, dtype=torch.float64), 0)
    return ((1 - cumprod) / cumprod).sqrt().float()


class Block(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.relu(self.first(x)))


def blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))


class Photo(nn.Module):
    """ε̂ for x [B, 3, H, W] at timestep t [B]; t may have a fraction."""

    def __init__(self, widths: tuple[int, ...] = (48, 96, 160), depths: tuple[int, ...] = (2, 2, 4)):
        super().__init__()
        self.register_buffer("levels", levels(), persistent=False)
        self.head = nn.Conv2d(13, widths[0], 3, padding=1, bias=False)
        pairs = list(zip(widths, widths[1:]))
        self.down = nn.ModuleList(blocks(width, depth) for width, depth in zip(widths, depths[:-1]))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2, bias=False) for a, b in pairs)
        self.middle = blocks(widths[-1], depths[-1])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2, bias=False) for a, b in reversed(pairs))
        self.up = nn.ModuleList(blocks(a, depth) for (a, _), depth in reversed(list(zip(pairs, depths))))
        self.tail = nn.Conv2d(widths[0], 12, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        sigma = self.sigma(t).reshape(-1, 1, 1, 1)
        return self.noise(x * (1 + sigma**2).sqrt(), sigma)

    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        """σ̃ at t, between its trained neighbours even in ln σ̃, which is where the service enters."""
        t = t.clamp(0, TIMESTEPS - 1)
        below = t.floor().clamp(max=TIMESTEPS - 2)
        low, high = self.levels[below.long()], self.levels[below.long() + 1]
        return low * (high / low) ** (t - below)

    def noise(self, y: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """ε̂ in y = x_0 + σ̃·ε, preconditioned as Karras et al. 2022 (section 5) have it: the body's input and what it
        is to find, F, have unit variance at every level."""
        spread = (sigma**2 + DATA**2).sqrt()
        return y * sigma / spread**2 - self.body(y / spread, sigma / spread) * DATA / spread

    def body(self, y: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        x = F.pixel_unshuffle(y, 2)
        x = self.head(torch.cat([x, sigma.expand(-1, 1, *x.shape[-2:])], 1))
        skips = []
        for down, shrink in zip(self.down, self.shrink):
            x = down(x)
            skips.append(x)
            x = shrink(x)
        x = self.middle(x)
        for grow, up in zip(self.grow, self.up):
            x = up(grow(x) + skips.pop())
        return F.pixel_shuffle(self.tail(x), 2)
