"""Trains the noise predictor of photographs (photo.py) and writes its weights for export.py.

The network learns ε in y = x_0 + σ̃·ε over the whole schedule, most of the time where a user's picture is, σ from 4 to 80 on
the 0…255 scale. The loss of x̂_0 = y − σ̃·ε̂ is divided by σ̃^1.2, about as it grows with the noise, so that no level drowns
the others. The body computes in bfloat16, which a processor that has it does in half the time. Training resumes from its
checkpoint when started again; without one it may begin at weights that an earlier run has left (--from).
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import photo
import photos

PATCH = 96
EIGHT_BIT = 127.5  # 8-bit units in one of [−1, 1]'s
SHOWN = (5, 15, 25, 50, 75)


class Patches:
    """Random crops, flipped and turned; of two the livelier, since skies are large and easy."""

    def __init__(self, folder: Path, seed: int):
        self.images = photos.training(folder)
        sides = np.sqrt([image.shape[0] * image.shape[1] for image in self.images])  # so that the small ones count too
        self.share = sides / sides.sum()
        self.random = np.random.default_rng(seed)

    def crop(self) -> np.ndarray:
        image = self.images[self.random.choice(len(self.images), p=self.share)]
        top, left = (self.random.integers(side - PATCH + 1) for side in image.shape[:2])
        return image[top : top + PATCH, left : left + PATCH]

    def patch(self) -> np.ndarray:
        crop = max(self.crop(), self.crop(), key=np.std)
        crop = np.rot90(crop, self.random.integers(4))
        return crop[:, ::-1] if self.random.integers(2) else crop

    def batch(self, count: int) -> torch.Tensor:
        """[count, 3, PATCH, PATCH] in [−1, 1]."""
        stack = np.stack([self.patch() for _ in range(count)])
        return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / EIGHT_BIT - 1


def noised(clean: torch.Tensor, levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x_0, ε and σ̃ of a batch. One picture in eight is grey, with the same noise in its three channels, which is how the
    service gives a grey picture to a colour network."""
    count = len(clean)
    noise = torch.randn_like(clean)
    grey = (torch.rand(count) < 1 / 8)[:, None, None, None]
    luma = (clean * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    clean, noise = torch.where(grey, luma, clean), torch.where(grey, noise[:, :1], noise)
    common = torch.exp(torch.empty(count).uniform_(math.log(4), math.log(80))) / EIGHT_BIT
    sigma = torch.where(torch.rand(count) < 0.85, common, levels[torch.randint(len(levels), (count,))])
    return clean, noise, sigma[:, None, None, None]


def loss_of(network: photo.Photo, clean: torch.Tensor) -> torch.Tensor:
    clean, noise, sigma = noised(clean, network.levels)
    error = sigma * (network.noise(clean + sigma * noise, sigma) - noise)
    return (error.square().mean((1, 2, 3)) / sigma.flatten() ** 1.2).mean()


@torch.no_grad()
def held_out_psnr(network: photo.Photo, folder: Path) -> dict[int, float]:
    """The mean PSNR of the held-out crops by σ, in one step from unclipped noise."""
    result = {}
    for level in SHOWN:
        generator, found = torch.Generator().manual_seed(level), []
        for crop in photos.held_out(folder).values():
            clean = torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float() / EIGHT_BIT - 1
            sigma = torch.full((1, 1, 1, 1), level / EIGHT_BIT)
            noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
            error = (noisy - sigma * network.noise(noisy, sigma)).clamp(-1, 1) - clean
            found.append(10 * math.log10(4 / error.square().mean().item()))
        result[level] = sum(found) / len(found)
    return result


def rate(step: int, args: argparse.Namespace) -> float:
    return args.rate * min(step / 500, 0.5 + 0.5 * math.cos(math.pi * min(step / args.steps, 1)))


def average(network: photo.Photo) -> torch.optim.swa_utils.AveragedModel:
    return torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999))


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    network = photo.Photo()
    torch.nn.init.zeros_(network.tail.weight)
    if args.begin:
        network.load_state_dict(load_file(args.begin))
    ema, optimizer = average(network), torch.optim.AdamW(network.parameters(), lr=args.rate, weight_decay=0)
    network.body = torch.autocast("cpu", torch.bfloat16)(network.body)  # behind the average, which copies the network
    step, spent = 0, 0.0
    if args.checkpoint.exists():
        kept = torch.load(args.checkpoint, weights_only=True)
        network.load_state_dict(kept["network"])
        ema.load_state_dict(kept["ema"])
        optimizer.load_state_dict(kept["optimizer"])
        step, spent = kept["step"], kept["seconds"]
        torch.manual_seed(args.seed + step)
    patches, losses, began = Patches(args.data, args.seed + step), [], time.monotonic()
    while step < args.steps:
        step += 1
        for group in optimizer.param_groups:
            group["lr"] = rate(step, args)
        loss = loss_of(network, patches.batch(args.batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.3)
        optimizer.step()
        ema.update_parameters(network)
        losses.append(loss.item())
        if step % 100 == 0:
            seconds = spent + time.monotonic() - began
            print(f"step {step}: loss {np.mean(losses):.5f}, {seconds:.0f} s", flush=True)
            losses.clear()
        if step % args.keep == 0 or step == args.steps:
            seconds = spent + time.monotonic() - began
            keep(args, network, ema, optimizer, step, seconds)
            shown = ", ".join(f"σ {level} {value:.2f}" for level, value in held_out_psnr(ema.module, args.data).items())
            print(f"step {step}: held-out PSNR {shown}", flush=True)


def keep(args, network, ema, optimizer, step: int, seconds: float) -> None:
    state = {"network": network.state_dict(), "ema": ema.state_dict(), "optimizer": optimizer.state_dict()}
    part = args.checkpoint.with_suffix(".part")
    torch.save({**state, "step": step, "seconds": seconds}, part)
    part.rename(args.checkpoint)
    save_file(ema.module.state_dict(), args.checkpoint.with_suffix(".safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    flag = parser.add_argument
    flag("data", type=Path, help="directory with the photographs")
    flag("--steps", type=int, default=60_000, help="steps in all (%(default)s)")
    flag("--batch", type=int, default=8, help="patches a step (%(default)s)")
    flag("--rate", type=float, default=6e-4, help="highest learning rate (%(default)s)")
    flag("--keep", type=int, default=1000, help="steps between checkpoints (%(default)s)")
    flag("--seed", type=int, default=0)
    flag("--from", dest="begin", type=Path, metavar="SAFETENSORS", help="weights to begin with where there is no checkpoint")
    flag("--checkpoint", type=Path, default=Path("runs/photo.pt"), help="(%(default)s)")
    args = parser.parse_args()
    args.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
