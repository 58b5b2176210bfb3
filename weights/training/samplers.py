"""Whole trajectories of every sampler, by diffusers' schedulers and by k-diffusion, for reference.py.

Every state is given at the model's own scale, x = αx_0 + σε with α² + σ² = 1, after a full step: the states of
schedulers that live in σ-space are multiplied by the α of the level that they are at.
"""

import inspect
import math
from dataclasses import dataclass, field

import diffusers as d
import torch
from diffusers.utils.torch_utils import randn_tensor

import kdiffusion

IN_SIGMA_SPACE = (
    d.EulerDiscreteScheduler,
    d.EulerAncestralDiscreteScheduler,
    d.HeunDiscreteScheduler,
    d.KDPM2DiscreteScheduler,
    d.KDPM2AncestralDiscreteScheduler,
    d.LMSDiscreteScheduler,
)
# These two round a state near 150 in float32 at every step, which adds up to more than 1e-5 of its own scale.
IN_FLOAT64 = (d.KDPM2AncestralDiscreteScheduler, d.LMSDiscreteScheduler)
EPSILON, WITH_V, ALL = ("epsilon",), ("epsilon", "v_prediction"), ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True)
class Sampler:
    """A diffusers scheduler, or one of k-diffusion's routines over that scheduler's levels."""

    scheduler: type
    options: dict = field(default_factory=dict)
    predictions: tuple = ALL
    routine: str | None = None

    @property
    def source(self) -> str:
        return f"k-diffusion {self.routine}" if self.routine else f"diffusers {self.scheduler.__name__}"


SAMPLERS = {
    "ddpm": Sampler(d.DDPMScheduler),
    "ddim": Sampler(d.DDIMScheduler),
    "euler": Sampler(d.EulerDiscreteScheduler),
    "euler_a": Sampler(d.EulerAncestralDiscreteScheduler, predictions=WITH_V),
    "heun": Sampler(d.HeunDiscreteScheduler),
    "dpm2": Sampler(d.KDPM2DiscreteScheduler, predictions=WITH_V),
    "dpm2_a": Sampler(d.KDPM2AncestralDiscreteScheduler, predictions=WITH_V),
    "lms": Sampler(d.LMSDiscreteScheduler),
    "pndm": Sampler(d.PNDMScheduler, {"skip_prk_steps": True}, WITH_V),
    "ipndm": Sampler(d.IPNDMScheduler, predictions=EPSILON),
    "deis": Sampler(d.DEISMultistepScheduler),
    "dpmpp_2m": Sampler(d.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "dpmpp_2m_sde": Sampler(d.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}),
    "unipc": Sampler(d.UniPCMultistepScheduler),
    # diffusers' third-order SDE update has −0.5 in D2's coefficient where +0.5 is right.
    "dpmpp_3m_sde": Sampler(d.DPMSolverMultistepScheduler, {}, EPSILON, "sample_dpmpp_3m_sde"),
    "dpmpp_2s_a": Sampler(d.EulerDiscreteScheduler, {}, EPSILON, "sample_dpmpp_2s_ancestral"),
    "dpmpp_sde": Sampler(d.EulerDiscreteScheduler, {}, EPSILON, "sample_dpmpp_sde"),
    "lcm": Sampler(d.LCMScheduler),
    # TCD always ends at the first trained level; the option makes no step differ, but says so.
    "tcd": Sampler(d.TCDScheduler, {"set_alpha_to_one": False}),
}


def ready(name: str, config: dict, **count):
    """The sampler's scheduler under a config, with its timesteps set."""
    sampler = SAMPLERS[name]
    if name == "ipndm":
        return ipndm(ready("euler", config, **count))
    scheduler = sampler.scheduler.from_config(config, **sampler.options)
    scheduler.set_timesteps(**count)
    return scheduler


def ipndm(euler):
    """IPNDMScheduler's formula, Adams-Bashforth on ε, over Euler's levels: its own schedule is of another kind."""
    scheduler = d.IPNDMScheduler()
    scheduler.set_timesteps(len(euler.timesteps))
    scheduler.timesteps, scheduler.sigmas = euler.timesteps, euler.sigmas
    scheduler.alphas, scheduler.betas = torch.tensor([level(sigma) for sigma in euler.sigmas.tolist()]).T
    scheduler.init_noise_sigma = float(euler.init_noise_sigma) * scheduler.alphas[0].item()
    return scheduler


def level(ratio: float) -> tuple[float, float]:
    """(α, σ) of σ/α."""
    return 1 / math.hypot(1, ratio), ratio / math.hypot(1, ratio)


def main_timesteps(scheduler) -> torch.Tensor:
    """One timestep a step: two-evaluation schedulers list a second one between, PNDM its second one twice."""
    listed = scheduler.timesteps
    if isinstance(scheduler, d.PNDMScheduler) and len(listed) > 1:
        return torch.cat([listed[:1], listed[2:]])
    return listed[:: scheduler.order]


def levels(scheduler) -> list[tuple[float, float]]:
    """(α, σ) of every main timestep, and of where the last step ends."""
    timesteps = main_timesteps(scheduler)
    if hasattr(scheduler, "sigmas"):
        ratios = [*scheduler.sigmas[:: scheduler.order][: len(timesteps)], scheduler.sigmas[-1]]
        return [level(float(ratio)) for ratio in ratios]
    cumprods = [*scheduler.alphas_cumprod[timesteps], getattr(scheduler, "final_alpha_cumprod", 1.0)]
    return [(math.sqrt(a), math.sqrt(1 - a)) for a in map(float, cumprods)]


def visited(scheduler, t) -> tuple[float, float]:
    """(α, σ) at which the scheduler wants the network next."""
    if not hasattr(scheduler, "sigmas"):
        a = scheduler.alphas_cumprod[t].item()
        return math.sqrt(a), math.sqrt(1 - a)
    i, sigmas = scheduler.step_index or 0, scheduler.sigmas
    if hasattr(scheduler, "sigmas_interpol") and not scheduler.state_in_first_order:
        sigmas = scheduler.sigmas_interpol
        i -= isinstance(scheduler, d.KDPM2AncestralDiscreteScheduler)
    return level(sigmas[i].item())


def asked(prediction: str, data: torch.Tensor, noise: torch.Tensor, at: tuple[float, float]) -> torch.Tensor:
    """What a network of this prediction type returns, given x̂_0 and ε̂."""
    alpha, sigma = at
    return {"epsilon": noise, "v_prediction": alpha * noise - sigma * data, "sample": data}[prediction].float()


def is_right(scheduler) -> bool:
    """Whether diffusers does what the sampler's definition says.

    DDIM and PNDM take T/steps from a timestep instead of looking the next one up; PNDM averages v of different levels
    where ε is meant; DDPM adds noise to the data at the end, if its variance there is not the posterior's, zero.
    """
    timesteps, config = main_timesteps(scheduler).tolist(), scheduler.config
    if isinstance(scheduler, d.DDPMScheduler):
        return config.variance_type == "fixed_small" or timesteps[-1] == 0
    if isinstance(scheduler, (d.DDIMScheduler, d.PNDMScheduler)):
        gap = config.num_train_timesteps // len(timesteps)
        steady = all(t - gap == after for t, after in zip(timesteps, timesteps[1:])) and timesteps[-1] < gap
        return steady and not (isinstance(scheduler, d.PNDMScheduler) and config.prediction_type == "v_prediction")
    return True


def diffusers_states(scheduler, predict, x: torch.Tensor, path, **arguments):
    """The scheduler's own steps; where its last one is wrong, as DDPM's can be, its x̂_0 is the data."""
    x = (x.double() if isinstance(scheduler, IN_FLOAT64) else x) * scheduler.init_noise_sigma
    right, last, done = is_right(scheduler), len(scheduler.timesteps) - 1, 0
    arguments = {k: v for k, v in arguments.items() if k in inspect.signature(scheduler.step).parameters}
    prediction = scheduler.config.get("prediction_type", "v_prediction")  # IPNDM has no choice
    for call, t in enumerate(scheduler.timesteps):
        at, scaled = visited(scheduler, t), scheduler.scale_model_input(x, t)
        output = asked(prediction, *predict(scaled, t, at), at)
        if scheduler.config.get("variance_type") == "learned_range":
            output = torch.cat([output, torch.sin(3 * x.double()).float()], dim=1)
        step = scheduler.step(output, t, x, **arguments)
        x = step.prev_sample if right or call < last else step.pred_original_sample
        begun = isinstance(scheduler, d.PNDMScheduler) and call == 0
        if call == last or getattr(scheduler, "state_in_first_order", not begun):
            done += 1
            yield (x * path[done][0] if isinstance(scheduler, IN_SIGMA_SPACE) else x).float()


def ddim_states(scheduler, predict, x: torch.Tensor, path, generator, eta: float, use_clipped_model_output: bool):
    """Song et al. 2021, eq. 12 and 16."""
    config = scheduler.config
    limit = config.clip_sample_range if config.clip_sample else math.inf
    for t, (alpha, sigma), (alpha_next, sigma_next) in zip(scheduler.timesteps, path, path[1:]):
        data, noise = predict(x, t, (alpha, sigma))
        data = scheduler._threshold_sample(data) if config.thresholding else data.clamp(-limit, limit)
        if use_clipped_model_output:
            noise = (x - alpha * data) / sigma
        spread = eta * sigma_next / sigma * math.sqrt(1 - (alpha / alpha_next) ** 2)
        x = alpha_next * data + math.sqrt(sigma_next**2 - spread**2) * noise
        if eta > 0:
            x = x + spread * randn_tensor(x.shape, generator=generator)
        x = x.float()
        yield x


def pndm_states(scheduler, predict, x: torch.Tensor, path, **_):
    """Liu et al. 2022: Adams-Bashforth on up to four ε, begun by a step with the mean of ε here and ε at its end."""

    def moved(x, noise, here, there):
        (alpha, sigma), (alpha_next, sigma_next) = here, there
        return (alpha_next * (x - sigma * noise) / alpha + sigma_next * noise).float()

    timesteps, noises = main_timesteps(scheduler), []
    for i, t in enumerate(timesteps):
        noise = predict(x, t, path[i])[1]
        noises = [noise, *noises[:3]]
        if len(noises) == 2:
            noise = (3 * noises[0] - noises[1]) / 2
        elif len(noises) == 3:
            noise = (23 * noises[0] - 16 * noises[1] + 5 * noises[2]) / 12
        elif len(noises) == 4:
            noise = (55 * noises[0] - 59 * noises[1] + 37 * noises[2] - 9 * noises[3]) / 24
        elif len(timesteps) > 1:
            ahead = predict(moved(x, noise, *path[:2]), timesteps[1], path[1])[1]
            noise = (noise + ahead) / 2
        x = moved(x, noise, path[i], path[i + 1])
        yield x


def draw(name: str, config: dict, predict, shape: tuple, seeds, count: dict, **arguments) -> dict:
    """One trajectory for every seed, side by side, each with a generator of its own: the start, then the steps' noise.

    predict takes the state at the model's scale, the timestep and the level (α, σ), and returns x̂_0 and ε̂ in float64.
    """
    scheduler = ready(name, config, **count)
    path, right = levels(scheduler), is_right(scheduler)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    x = randn_tensor(shape, generator=generators)
    start = float(scheduler.init_noise_sigma) * (path[0][0] if isinstance(scheduler, IN_SIGMA_SPACE) else 1.0)
    routine = SAMPLERS[name].routine
    if routine:
        noise = lambda: randn_tensor(shape, generator=generators)
        states = kdiffusion.states(routine, scheduler, predict, start * x.double(), noise)
    else:
        own = {} if right else {d.DDIMScheduler: ddim_states, d.PNDMScheduler: pndm_states}
        walk = own.get(type(scheduler), diffusers_states)
        states = list(walk(scheduler, predict, x, path, generator=generators, **arguments))
    alphas, sigmas = torch.tensor(path).T
    timesteps = main_timesteps(scheduler).float()
    seen = {"timesteps": timesteps, "alphas": alphas, "sigmas": sigmas, "start": start, "states": states}
    return {"diffusers": right and not routine, **seen}
