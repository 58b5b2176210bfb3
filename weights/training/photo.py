"""The noise predictor for colour photographs: convolutions alone, so that any height and width that 8 divides fit and a
part of a picture is treated as the whole is. The service continues the rims of other pictures.

A U-Net without normalisation or biases, as DRUNet (Zhang et al. 2021) is, so that it scales with its input: what it
learned at one level of noise carries over to others. It starts at half the resolution, where a convolution costs a quarter
and sees twice as far, on an orthonormal basis of 2×2 pixels in which photographs are nearly uncorrelated: what stands
between the network and the noise of fine detail would otherwise be the large and smooth rest of the picture.
"""

import torch
import torch.nn.functional as F
from torch import nn

TIMESTEPS = 1000
BETAS = (1e-4, 0.02)  # linear, as in weights/photo/scheduler
# The mean squares of photographs in [−1, 1] on the basis: for each colour Haar's mean, two slopes and saddle.
BANDS = ((2.34, 0.0352, 0.0374, 0.0100), (0.647, 0.00147, 0.00163, 0.000223), (0.0910, 0.000605, 0.000713, 0.000119))


def levels() -> torch.Tensor:
    """σ̃ = √((1−ᾱ)/ᾱ) of every timestep."""
    cumprod = torch.cumprod(1 - torch.linspace(*BETAS, TIMESTEPS, dtype=torch.float64), 0)
    return ((1 - cumprod) / cumprod).sqrt().float()


def basis() -> torch.Tensor:
    """Orthonormal [12, 12]: brightness and two opponent colours, each by Haar's transform of 2×2 pixels."""
    haar = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    colours = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]])
    return torch.kron(colours / colours.norm(dim=1, keepdim=True), haar)


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
        self.register_buffer("basis", basis()[:, :, None, None], persistent=False)
        self.register_buffer("data", torch.tensor(BANDS).reshape(1, 12, 1, 1), persistent=False)
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
        """ε̂ in y = x_0 + σ̃·ε, preconditioned band by band as Karras et al. 2022 (section 5) have it for a whole picture:
        the body's input and what it is to find, F, have unit variance at every level. With F = 0 it is Wiener's filter."""
        bands = F.conv2d(F.pixel_unshuffle(y, 2), self.basis)
        spread = (sigma**2 + self.data).sqrt()
        found = self.body(bands / spread, sigma / (sigma**2 + 0.25).sqrt())
        noise = bands * sigma / spread**2 - found * self.data.sqrt() / spread
        return F.pixel_shuffle(F.conv_transpose2d(noise, self.basis), 2)

    def body(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        x = self.head(torch.cat([x, sigma.expand(-1, 1, *x.shape[-2:])], 1))
        skips = []
        for down, shrink in zip(self.down, self.shrink):
            x = down(x)
            skips.append(x)
            x = shrink(x)
        x = self.middle(x)
        for grow, up in zip(self.grow, self.up):
            x = up(grow(x) + skips.pop())
        return self.tail(x)
