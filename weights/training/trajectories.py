"""The trajectories that the Go tests compare with, for reference.py: which ones, and on which networks."""

import base64
import json
from itertools import product
from pathlib import Path

import torch
from diffusers import UNet2DModel

from samplers import SAMPLERS, draw

SPACINGS = ("leading", "linspace", "trailing")
SCHEDULES = ("karras", "exponential", "beta")
# What the cases have unless they say otherwise.
BETAS = {"name": "linear", "start": 1e-4, "end": 0.02, "train": 1000}
# diffusers' default is to clip in some schedulers and not to in others; the cases say it of each that can.
CLIPPING = ("ddpm", "ddim", "heun", "lcm")
DISTILLED = ("lcm", "tcd")
ETAS = {"ddim": (0.0, 0.7), "tcd": (0.3, 0.0)}
# The data of the network that is known exactly: N(μ, s²), element by element.
MEAN, DEVIATION = 0.3, 0.5


def floats(values: torch.Tensor) -> list[float]:
    """The values in as few digits as a float32 needs to be read back the same."""
    return [float(str(value)) for value in values.flatten().numpy()]


def exact(deviation: float):
    """E[x_0|x] = μ + s²α(x − αμ)/(s²α² + σ²) of x = αx_0 + σε for data N(μ, s²), and the ε that belongs to it."""

    def predict(x, t, at):
        (alpha, sigma), x = at, x.double()
        data = MEAN + deviation**2 * alpha * (x - alpha * MEAN) / (deviation**2 * alpha**2 + sigma**2)
        return data, (x - alpha * data) / sigma

    return predict


def case(sampler: str, **fields) -> dict:
    return {"sampler": sampler, "prediction": "epsilon", "spacing": "trailing", "steps": 12, **fields}


def product_cases():
    for sampler, traits in SAMPLERS.items():
        distilled = sampler in DISTILLED
        spacings, counts = (("trailing",), (4, 8)) if distilled else (SPACINGS, (10, 25))
        for spacing, prediction, steps, eta in product(spacings, traits.predictions, counts, ETAS.get(sampler, (0.0,))):
            yield case(sampler, spacing=spacing, prediction=prediction, steps=steps, eta=eta)


def feature_cases():
    """Each further feature by itself; DDIM's at 10 steps too, as diffusers' own steps from 12 are not right.

    Where the first levels are nearly all noise, the network gives v: x̂_0 from ε̂ would be ε̂'s rounding, divided by α.
    """
    free = ("euler", "heun", "dpm2", "dpm2_a", "lms", "dpmpp_2m", "dpmpp_2m_sde", "unipc")
    for sampler, schedule in product(free, SCHEDULES):
        yield case(sampler, schedule=schedule, prediction="v_prediction" if schedule == "beta" else "epsilon")
    for sampler in ("dpmpp_2s_a", "dpmpp_sde", "dpmpp_3m_sde"):
        yield case(sampler, schedule="karras")

    # Data so wide that the limits are met in most steps.
    wide, threshold = {"deviation": 1.0}, {"ratio": 0.9, "max": 1.5}
    for steps in (10, 12):
        yield case("ddim", **wide, steps=steps, clip=1.0)
        yield case("ddim", **wide, steps=steps, clip=1.0, eta=0.7)
        yield case("ddim", **wide, steps=steps, clip=0.4, consistent=True)
        yield case("ddim", **wide, steps=steps, threshold=threshold)
    for sampler, steps, clip in (("ddpm", 12, 1.0), ("ddpm", 12, 0.4), ("heun", 12, 1.0), ("lcm", 4, 1.0)):
        yield case(sampler, **wide, steps=steps, clip=clip)
    for sampler, steps in (("ddpm", 12), ("dpmpp_2m", 12), ("deis", 12), ("unipc", 12), ("lcm", 4)):
        yield case(sampler, **wide, steps=steps, threshold=threshold)

    for variance, spacing in product(("fixed_large", "learned_range"), ("leading", "trailing")):
        yield case("ddpm", variance=variance, spacing=spacing)
    for sampler in ("ddim", "euler", "dpmpp_2m", "pndm"):
        yield case(sampler, spacing="leading", offset=1)
    for sampler, offset, final in product(("ddim", "pndm"), (0, 1), ("first", "clean")):
        yield case(sampler, spacing="leading", offset=offset, final=final)
    for sampler, steps in (("euler", 12), ("dpmpp_2m", 12), ("dpmpp_2m", 20), ("unipc", 12)):
        yield case(sampler, steps=steps, final="first")
    for sampler in ("ddpm", "euler", "heun", "dpmpp_2m"):
        yield case(sampler, steps=7, timesteps_given=[999, 850, 700, 500, 301, 150, 40])
    for sampler, eta in (("lcm", 0.0), ("tcd", 0.3), ("tcd", 0.0)):
        yield case(sampler, steps=4, eta=eta, timesteps_given=[999, 759, 499, 259])

    for sampler in ("ddpm", "ddim", "euler", "euler_a", "dpmpp_2m", "unipc", "lcm"):
        for steps in {"ddim": (10, 12), "lcm": (4,)}.get(sampler, (12,)):
            yield case(sampler, steps=steps, prediction="v_prediction", betas={**BETAS, "zero_snr": True})
    # In σ-space, the state of the cosine's last timestep, σ/α = 20000, would leave its rounding to the next ones.
    for sampler, spacing in (("ddpm", "trailing"), ("euler", "leading"), ("dpmpp_2m", "trailing")):
        yield case(sampler, betas={"name": "scaled_linear", "start": 0.00085, "end": 0.012, "train": 1000})
        cosine = {"name": "squaredcos_cap_v2", "train": 1000}
        yield case(sampler, spacing=spacing, prediction="v_prediction", betas=cosine)
    yield case("ddpm", betas={**BETAS, "name": "sigmoid"})
    for sampler in ("ddpm", "dpmpp_2m"):
        yield case(sampler, steps=6, betas={"trained": floats(torch.linspace(0.02, 0.4, 60)), "train": 60})


def config_of(case: dict) -> dict:
    """diffusers' configuration of a case."""
    betas, sampler = case.get("betas", BETAS), case["sampler"]
    keys = {"name": "beta_schedule", "start": "beta_start", "end": "beta_end", "trained": "trained_betas"}
    keys |= {"train": "num_train_timesteps", "zero_snr": "rescale_betas_zero_snr"}
    config = {keys[key]: value for key, value in betas.items()}
    config |= {"timestep_spacing": case["spacing"], "prediction_type": case["prediction"]}
    if sampler in CLIPPING:
        config |= {"clip_sample": "clip" in case, "clip_sample_range": case.get("clip", 1.0)}
    if "threshold" in case:
        config |= {"thresholding": True, "dynamic_thresholding_ratio": case["threshold"]["ratio"]}
        config |= {"sample_max_value": case["threshold"]["max"]}
    if "schedule" in case:
        config |= {f"use_{case['schedule']}_sigmas": True}
    if "offset" in case:
        config |= {"steps_offset": case["offset"]}
    if "variance" in case:
        config |= {"variance_type": case["variance"]}
    if sampler in ("ddim", "pndm"):
        config |= {"set_alpha_to_one": case.get("final") != "first"}
    elif case.get("final") == "first":
        config |= {"final_sigmas_type": "sigma_min"}
    return config


def analytic() -> dict:
    """Every sampler and feature on the exact network: 16 independent elements of N(0.3, 0.5²)."""
    cases = []
    for seed, wanted in enumerate([*product_cases(), *feature_cases()]):
        steps, given, eta = wanted["steps"], wanted.get("timesteps_given"), wanted.get("eta", 0.0)
        count = {"timesteps": given} if given else {"num_inference_steps": steps}
        follow = {"eta": eta, "use_clipped_model_output": wanted.get("consistent", False)}
        predict = exact(wanted.get("deviation", DEVIATION))
        drawn = draw(wanted["sampler"], config_of(wanted), predict, (1, 1, 4, 4), [seed], count, **follow)
        found = {"source": SAMPLERS[wanted["sampler"]].source, "seed": seed, "final": final(drawn)}
        drawn |= {key: floats(drawn[key]) for key in ("timesteps", "alphas", "sigmas")}
        drawn["states"] = [floats(state) for state in drawn["states"]]
        # What is zero goes without saying.
        said = (wanted | found | drawn).items()
        cases.append({key: value for key, value in said if value != 0 or key == "diffusers"})
    return {"mean": MEAN, "deviation": DEVIATION, "betas": BETAS, "cases": cases}


def final(drawn: dict) -> str:
    """Where the last step ends: at the data or at the first trained level."""
    return "clean" if drawn["sigmas"][-1] == 0 else "first"


def digits(folder: Path) -> dict:
    """The trained network under its own scheduler config: of each sampler eight pictures, seeded and labelled alike."""
    network = UNet2DModel.from_pretrained(folder / "unet").eval()
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    own = json.loads((folder / "model_index.json").read_text())["denoised"]
    null, consistent = own["null_label"], own.get("use_clipped_model_output", False)
    slow = {name: 6 for name in ("heun", "dpm2", "dpm2_a", "dpmpp_2s_a", "dpmpp_sde")}
    counts = slow | {name: 4 for name in DISTILLED}
    etas = {"ddim": (0.0, 1.0), "tcd": (0.3,)}
    cases, scale, seeds = [], 2.0, range(8)
    predict = guided(network, list(seeds), null, scale)
    for sampler, traits in SAMPLERS.items():
        for eta in etas.get(sampler, (0.0,)):
            steps = counts.get(sampler, 10)
            follow = {"eta": eta, "use_clipped_model_output": consistent}
            drawn = draw(sampler, config, predict, (8, 1, 28, 28), seeds, {"num_inference_steps": steps}, **follow)
            last = drawn["states"][-1]
            pixels = ((last / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
            images = [{"seed": n, "label": n, "pixels": encode(pixels[n], "u1")} for n in seeds]
            made = {"sampler": sampler, "source": traits.source, "diffusers": drawn["diffusers"], "eta": eta}
            made |= {"steps": steps, "guidance_scale": scale, "final": final(drawn), "images": images}
            cases.append({**made, "state": encode(last[0], "<f4")})
    return {"null_label": null, "cases": cases}


def guided(network: UNet2DModel, labels: list[int], null: int, scale: float):
    """ε = ε_null + s(ε_label − ε_null) (Ho & Salimans 2022), and the x̂_0 that belongs to it."""

    @torch.no_grad()
    def predict(x, t, at):
        x, t = x.float(), t.float().expand(len(labels))
        wanted = network(x, t, class_labels=torch.tensor(labels)).sample
        neutral = network(x, t, class_labels=torch.full((len(labels),), null)).sample
        noise = (neutral + scale * (wanted - neutral)).double()
        alpha, sigma = at
        return (x.double() - sigma * noise) / alpha, noise

    return predict


def encode(values: torch.Tensor, dtype: str) -> str:
    return base64.b64encode(values.numpy().astype(dtype).tobytes()).decode()
