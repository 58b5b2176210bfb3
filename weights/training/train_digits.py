"""Trains the class-conditional noise predictor of handwritten digits and writes it as a diffusers folder.

The network is diffusers' UNet2DModel. It learns ε in x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε (Ho et al. 2020, eq. 14) with
the label beside it, or with the null label in its place for some of the examples, so that classifier-free guidance
(Ho & Salimans 2022) has both predictions to work with. A timestep's loss is weighted by min(SNR, γ)/SNR with SNR =
ᾱ/(1−ᾱ) (Hang et al. 2023): the nearly clean ones are many and easy, and would drown those that decide the shape.
Training resumes from its checkpoint when started again.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel

import mnist

NULL_LABEL = 10
LABELS = [str(digit) for digit in range(10)]


def build_network() -> UNet2DModel:
    """Wide where the picture is small: a convolution costs least there, and the class is decided there."""
    return UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(16, 48, 64),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=32,
        norm_num_groups=8,
        num_class_embeds=NULL_LABEL + 1,
    )


def build_scheduler() -> DDPMScheduler:
    """The schedule of Ho et al. 2020. Trailing spacing starts every sampler at t = 999, where the noise is pure.

    Dynamic thresholding to at most 1 is clipping, for the classes that have no other: without it the solvers of
    DPM-Solver's kind follow guidance out of the pixels' range.
    """
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        prediction_type="epsilon",
        clip_sample=True,
        thresholding=True,
        timestep_spacing="trailing",
    )


def load_images(directory: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The training images in [−1, 1] as [N, 1, 28, 28] and their labels as int64."""
    images, labels = mnist.load(directory, "train")
    pixels = torch.from_numpy(images.astype(np.float32))[:, None] / 127.5 - 1
    return pixels, torch.from_numpy(labels.astype(np.int64))


def stratified_timesteps(count: int, generator: torch.Generator) -> torch.Tensor:
    """Timesteps spread evenly over 0…999 with one random offset: uniform, and less noisy than independent draws."""
    offset = torch.rand(1, generator=generator)
    return ((torch.arange(count) + offset) / count * 1000).long().clamp(max=999)


def loss_weights(alphas_cumprod: torch.Tensor, gamma: float) -> torch.Tensor:
    """min(SNR, γ)/SNR of every timestep."""
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return snr.clamp(max=gamma) / snr


def learning_rate(step: int, args: argparse.Namespace) -> float:
    """Rises linearly over the warm-up, then falls along half a cosine to zero at the last step."""
    warm = min(1.0, (step + 1) / args.warmup)
    return args.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / args.steps))


def autocast_bf16() -> bool:
    """Whether the processor multiplies bfloat16 natively; elsewhere autocast would only cost time."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(args.seed)
    torch.manual_seed(args.seed)
    images, labels = load_images(args.data)
    scheduler = build_scheduler()
    weights = loss_weights(scheduler.alphas_cumprod, args.snr_gamma)
    network = build_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.learning_rate, weight_decay=0.01)
    ema = EMAModel(network.parameters(), decay=args.ema_decay)
    first, seconds = 0, 0.0
    if args.checkpoint.exists():
        state = torch.load(args.checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        ema.load_state_dict(state["ema"])
        first, seconds = state["step"], state["seconds"]
        generator.set_state(state["generator"])
        print(f"resumed at step {first} of {args.steps}", flush=True)
    bf16 = autocast_bf16()
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, bf16 autocast {bf16}", flush=True)

    network.train()
    losses: list[float] = []
    since = time.monotonic()
    for step in range(first, args.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        pick = torch.randint(len(images), (args.batch,), generator=generator)
        x0, label = images[pick], labels[pick]
        dropped = torch.rand(args.batch, generator=generator) < args.drop_label
        label = torch.where(dropped, torch.tensor(NULL_LABEL), label)
        noise = torch.randn(x0.shape, generator=generator)
        t = stratified_timesteps(args.batch, generator)
        xt = scheduler.add_noise(x0, noise, t)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            predicted = network(xt, t, class_labels=label).sample
        loss = (weights[t] * F.mse_loss(predicted.float(), noise, reduction="none").mean((1, 2, 3))).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        ema.step(network.parameters())
        losses.append(loss.item())
        done = step + 1
        if done % args.every == 0 or done == args.steps:
            seconds, since = seconds + time.monotonic() - since, time.monotonic()
            print(f"step {done} loss {np.mean(losses):.5f} {seconds:.0f} s", flush=True)
            losses.clear()
            save_checkpoint(args.checkpoint, network, optimizer, ema, done, seconds, generator)
    write_folder(args.out, network, ema, scheduler)
    print(f"trained {args.steps} steps of {args.batch} in {seconds:.0f} s; wrote {args.out}")


def save_checkpoint(path, network, optimizer, ema, step, seconds, generator) -> None:
    """Written aside and renamed, so that a run cut short leaves the last whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "ema": ema.state_dict(),
            "step": step,
            "seconds": seconds,
            "generator": generator.get_state(),
        },
        partial,
    )
    partial.replace(path)


def write_folder(out: Path, network: UNet2DModel, ema: EMAModel, scheduler: DDPMScheduler) -> None:
    """The diffusers folder with the averaged weights; export.py turns it into a bundle."""
    ema.copy_to(network.parameters())
    network.save_pretrained(out / "unet")
    scheduler.save_pretrained(out / "scheduler")
    index = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", "DDPMScheduler"],
        "id2label": {str(i): label for i, label in enumerate(LABELS)},
        # DDIM with x̂_0 clipped and ε left as it was draws broken digits, and more so the more steps it takes.
        "denoised": {"null_label": NULL_LABEL, "use_clipped_model_output": True},
    }
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("data", type=Path, help="directory with MNIST's four IDX files, plain or gzipped")
    parser.add_argument("--out", type=Path, default=Path("runs/digits"), help="diffusers folder to write")
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/digits.pt"), help="file to resume from")
    parser.add_argument("--steps", type=int, default=6800, help="optimiser steps in all")
    parser.add_argument("--batch", type=int, default=64, help="images a step")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=200, help="steps of linear warm-up")
    parser.add_argument("--ema-decay", type=float, default=0.999, help="decay of the averaged weights")
    parser.add_argument("--drop-label", type=float, default=0.15, help="share of examples with the null label")
    parser.add_argument("--snr-gamma", type=float, default=5.0, help="γ of the loss weights; infinity weighs all alike")
    parser.add_argument("--every", type=int, default=200, help="steps between log lines and checkpoints")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="PyTorch's threads")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
