"""Whole trajectories drawn by diffusers' schedulers, for reference.py.

Every state is given at the model's own scale, x = αx_0 + σε with α² + σ² = 1: Euler's states, which live in σ-space,
are divided by √(1 + σ²) of the level that they are at.
"""

import base64
import json
import math
from itertools import product
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, UNet2DModel

SCHEDULERS = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler, "euler": EulerDiscreteScheduler}
ANALYTIC = (("ddpm", None), ("ddim", 0.0), ("ddim", 0.7), ("euler", None))
DIGITS = (("ddpm", None), ("ddim", 0.0), ("ddim", 1.0), ("euler", None))
SPACINGS = ("leading", "linspace", "trailing")
# The data of the network that is known exactly: N(μ, s²), element by element.
MEAN, DEVIATION = 0.3, 0.5


def levels(scheduler) -> list[tuple[float, float]]:
    """(α, σ) of every timestep that the scheduler has set, and of the data at the end."""
    if isinstance(scheduler, EulerDiscreteScheduler):
        return [(1 / math.hypot(1, s), s / math.hypot(1, s)) for s in scheduler.sigmas.tolist()]
    cumprods = scheduler.alphas_cumprod[scheduler.timesteps].tolist() + [1.0]
    return [(math.sqrt(a), math.sqrt(1 - a)) for a in cumprods]


def floats(values: torch.Tensor) -> list[float]:
    """The values in as few digits as a float32 needs to be read back the same."""
    return [float(str(value)) for value in values.flatten().numpy()]


def exact_noise(x: torch.Tensor, alpha: float, sigma: float) -> torch.Tensor:
    """The least-squares ε of x = αx_0 + σε for data N(μ, s²): E[x_0|x] = μ + s²α(x − αμ)/(s²α² + σ²)."""
    x = x.double()
    variance = DEVIATION**2
    data = MEAN + variance * alpha * (x - alpha * MEAN) / (variance * alpha**2 + sigma**2)
    return ((x - alpha * data) / sigma).float()


def draw(scheduler, predict, shape, steps: int, seed: int, eta: float | None = None, lookup=False, consistent=False) -> dict:
    """One trajectory, with its noise drawn in the order of diffusers' pipelines: the start, then one draw a step.

    predict takes the scaled state, the timestep and the level (α, σ). With lookup, the step to the next timestep is
    ours instead of the scheduler's; with consistent, DDIM's ε follows the clipped x̂_0.
    """
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    path = levels(scheduler)
    extra = {} if eta is None else {"eta": eta, "use_clipped_model_output": consistent}
    x = torch.randn(shape, generator=generator) * scheduler.init_noise_sigma
    states = []
    for i, t in enumerate(scheduler.timesteps):
        noise = predict(scheduler.scale_model_input(x, t), t, path[i])
        if lookup:
            x = ddim_step(scheduler, x, noise, path[i], path[i + 1], eta, generator)
        else:
            x = scheduler.step(noise, t, x, generator=generator, **extra).prev_sample
        euler = isinstance(scheduler, EulerDiscreteScheduler)
        states.append(x * path[i + 1][0] if euler else x)
    return {
        "seed": seed,
        "timesteps": floats(scheduler.timesteps.float()),
        "init_noise_sigma": float(scheduler.init_noise_sigma),
        "states": states,
    }


def ddim_step(scheduler, x, noise, here, there, eta, generator) -> torch.Tensor:
    """Song et al. 2021, eq. 12 and 16, to the next timestep of the list.

    diffusers' DDIM subtracts T/steps from the timestep instead, which with linspace spacing misses the next one.
    """
    (alpha, sigma), (alpha_next, sigma_next) = here, there
    data = (x.double() - sigma * noise) / alpha
    if scheduler.config.clip_sample:
        data = data.clamp(-scheduler.config.clip_sample_range, scheduler.config.clip_sample_range)
    spread = eta * sigma_next / sigma * math.sqrt(max(0.0, 1 - (alpha / alpha_next) ** 2))
    x = alpha_next * data + math.sqrt(max(0.0, sigma_next**2 - spread**2)) * noise
    if eta > 0:
        x = x + spread * torch.randn(x.shape, generator=generator)
    return x.float()


def analytic() -> dict:
    """Every sampler, spacing and clipping on the exact network: 16 independent elements of N(0.3, 0.5²)."""
    cases = []
    config = {"num_train_timesteps": 1000, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    for (sampler, eta), spacing, steps, clip in product(ANALYTIC, SPACINGS, (10, 50), (False, True)):
        if sampler == "euler" and clip:
            continue
        clipping = {} if sampler == "euler" else {"clip_sample": clip}
        scheduler = SCHEDULERS[sampler](**config, timestep_spacing=spacing, **clipping)
        lookup = sampler == "ddim" and spacing == "linspace"
        seed = len(cases)
        drawn = draw(scheduler, lambda x, t, level: exact_noise(x, *level), (1, 1, 4, 4), steps, seed, eta, lookup)
        shown = range(steps // 10, steps + 1, steps // 10)
        drawn["states"] = [floats(drawn["states"][n - 1]) for n in shown]
        case = {"sampler": sampler, "eta": eta, "spacing": spacing, "steps": steps, "clip": clip}
        cases.append({**case, "diffusers": not lookup, "shown": list(shown), **drawn})
    return {"mean": MEAN, "deviation": DEVIATION, "scheduler": config, "cases": cases}


def digits(folder: Path) -> dict:
    """The trained network under its own scheduler config, 50 steps; states are base64 of little-endian float32."""
    network = UNet2DModel.from_pretrained(folder / "unet").eval()
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    own = json.loads((folder / "model_index.json").read_text())["denoised"]
    null, consistent = own["null_label"], own.get("use_clipped_model_output", False)
    shown = (1, 10, 25, 40, 50)
    cases = []
    for (sampler, eta), guidance in product(DIGITS, (1.0, 2.0)):
        label, seed = (3 * len(cases) + 7) % 10, len(cases)
        scheduler = SCHEDULERS[sampler].from_config(config)
        drawn = draw(scheduler, guided(network, label, null, guidance), (1, 1, 28, 28), 50, seed, eta, consistent=consistent)
        drawn["states"] = [encode(drawn["states"][n - 1]) for n in shown]
        case = {"sampler": sampler, "eta": eta, "steps": 50, "label": label, "guidance_scale": guidance}
        cases.append({**case, "shown": list(shown), **drawn})
    return {"null_label": null, "cases": cases}


def guided(network: UNet2DModel, label: int, null: int, scale: float):
    """ε = ε_null + s(ε_label − ε_null) (Ho & Salimans 2022); a scale of 1 asks for ε_label alone."""

    @torch.no_grad()
    def predict(x, t, level):
        t = t.float().reshape(1)
        wanted = network(x, t, class_labels=torch.tensor([label])).sample
        if scale == 1:
            return wanted
        neutral = network(x, t, class_labels=torch.tensor([null])).sample
        return neutral + scale * (wanted - neutral)

    return predict


def encode(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().astype("<f4").tobytes()).decode()
