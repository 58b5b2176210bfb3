"""Writes what PyTorch, diffusers and k-diffusion compute, as JSON files that the Go tests compare with.

noise.json has torch.randn's values, schedule.json the schedulers' tables and timesteps, trajectories_analytic.json
whole trajectories on a network that is known exactly, trajectories_digits.json pictures of the trained one.
"""

import argparse
import json
from importlib.metadata import version
from itertools import product
from pathlib import Path

import torch
from diffusers import DDPMScheduler

import samplers
import trajectories
from trajectories import floats

SEEDS = (0, 1, 42, 2**32 - 1)
SIZES = (1, 3, 15, 16, 17, 31, 33, 784, 1000)
# Fewer than 16 elements are drawn in pairs, and the generator keeps the second of a pair for the next such draw.
SEQUENCES = ((5, 5, 16, 7, 784), (1, 1, 1, 16, 1), (3, 17, 2, 1000, 15))
BETAS = {
    "linear": {"beta_start": 1e-4, "beta_end": 0.02},
    "scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012},
    "squaredcos_cap_v2": {},
    "sigmoid": {"beta_start": 1e-4, "beta_end": 0.02},
}


def thinned(values: torch.Tensor) -> dict:
    """A long list as every 37th value and the last; a short one whole."""
    values = floats(values.float())
    last = len(values) - 1
    indices = list(range(last + 1)) if last < 100 else sorted({*range(0, last, 37), last})
    return {"length": last + 1, "indices": indices, "values": [values[i] for i in indices]}


def drawn(size: int, generator: torch.Generator) -> dict:
    """One draw: its values, or of a large one the first and last 24 and the float64 sum of all."""
    values = torch.randn(size, generator=generator)
    if size <= 48:
        return {"size": size, "values": floats(values)}
    total = values.double().sum().item()
    return {"size": size, "first": floats(values[:24]), "last": floats(values[-24:]), "sum": total}


def noise() -> dict:
    """Draws from a fresh generator, and several in turn from the same one."""
    cases = []
    for seed in SEEDS:
        for sizes in [(size,) for size in SIZES] + list(SEQUENCES):
            generator = torch.Generator().manual_seed(seed)
            cases.append({"seed": seed, "draws": [drawn(size, generator) for size in sizes]})
    return {"cases": cases}


def schedule() -> dict:
    """ᾱ of each beta schedule, then the timesteps of each way of laying them out, with σ/α where a scheduler has it."""
    configs = [{"num_train_timesteps": 1000, "beta_schedule": name, **betas} for name, betas in BETAS.items()]
    configs.append({"num_train_timesteps": 60, "beta_schedule": "linear", "beta_start": 0.02, "beta_end": 0.4})
    configs += [{**config, "zero_snr": True} for config in configs[:2]]
    configs.append({"num_train_timesteps": 60, "trained_betas": floats(torch.linspace(0.02, 0.4, 60))})
    cumprods = []
    for config in configs:
        given = {"rescale_betas_zero_snr" if key == "zero_snr" else key: value for key, value in config.items()}
        cumprods.append({**config, "alphas_cumprod": thinned(DDPMScheduler(**given).alphas_cumprod)})
    return {"alphas_cumprod": cumprods, "timesteps": [listed(*wanted) for wanted in lists()]}


def lists():
    """(scheduler, spacing, offset, schedule, steps): one scheduler of every family."""
    for name in ("ddpm", "ddim", "pndm", "euler", "dpmpp_2m"):
        for spacing in trajectories.SPACINGS:
            for offset in (0, 1) if spacing == "leading" else (0,):
                # DPM-Solver lists one timestep more and drops the last, so 1000 of 1000 are too many for it.
                most = (999,) if name == "dpmpp_2m" and spacing != "trailing" else (999, 1000)
                yield from ((name, spacing, offset, None, steps) for steps in (1, 2, 7, 10, 20, 33, 50, *most))
    for name, spacing, shape in product(("euler", "dpmpp_2m"), trajectories.SPACINGS, trajectories.SCHEDULES):
        yield from ((name, spacing, 0, shape, steps) for steps in (1, 2, 10, 33))
    for name in trajectories.DISTILLED:
        yield from ((name, "trailing", 0, None, steps) for steps in (1, 2, 3, 4, 7, 8, 50))


def listed(name: str, spacing: str, offset: int, shape: str | None, steps: int) -> dict:
    config = {"timestep_spacing": spacing, "steps_offset": offset}
    given = {f"use_{shape}_sigmas": True} if shape else {}
    scheduler = samplers.ready(name, {**BETAS["linear"], **config, **given}, num_inference_steps=steps)
    entry = {"scheduler": name, **config, **({"schedule": shape} if shape else {}), "steps": steps}
    entry["timesteps"] = thinned(samplers.main_timesteps(scheduler))
    if hasattr(scheduler, "sigmas"):
        entry["sigmas"] = thinned(scheduler.sigmas)
    if isinstance(scheduler, samplers.IN_SIGMA_SPACE):
        entry["init_noise_sigma"] = float(scheduler.init_noise_sigma)
    return entry


def write(out: Path, name: str, content: dict, *more: str) -> None:
    versions = {package: version(package) for package in ("torch", "diffusers", "numpy", *more)}
    head = {"generator": "weights/training/reference.py", "versions": versions}
    path = out / name
    path.write_text(json.dumps({**head, **content}, separators=(",", ":"), allow_nan=False) + "\n")
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", type=Path, required=True, help="bundle or diffusers folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory to write the four files into")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    write(args.out, "noise.json", noise())
    write(args.out, "schedule.json", schedule(), "scipy")
    write(args.out, "trajectories_analytic.json", trajectories.analytic(), "scipy", "k-diffusion")
    write(args.out, "trajectories_digits.json", trajectories.digits(args.digits), "scipy", "k-diffusion")


if __name__ == "__main__":
    main()
