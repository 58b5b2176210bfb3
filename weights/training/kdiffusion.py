"""The samplers that diffusers lacks, or defines otherwise, from k-diffusion; its state is x/α.

Only k_diffusion.sampling is wanted of the package. What the package's own start imports (CLIP, wandb, torchvision and
more) stays out, and the names that sampling.py imports without needing them here are empty modules.
"""

import math
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import torch


def load_sampling() -> ModuleType:
    package, utils = ModuleType("k_diffusion"), ModuleType("k_diffusion.utils")
    package.__path__ = find_spec("k_diffusion").submodule_search_locations
    utils.append_dims = lambda x, ndim: x[(...,) + (None,) * (ndim - x.ndim)]
    solvers, trees = ModuleType("torchdiffeq"), ModuleType("torchsde")
    solvers.odeint = None
    sys.modules.update({module.__name__: module for module in (package, utils, solvers, trees)})
    return import_module("k_diffusion.sampling")


sampling = load_sampling()


def brownian(draw):
    """dpmpp_sde's noise: of a step's two calls the second continues the path that the first began, W(σ) − W(σ_mid).

    Each call draws once, so that a run's noise is one list, whatever the path's own representation.
    """
    begun = None

    def noise(sigma, sigma_next):
        nonlocal begun
        z = draw()
        if begun is None:
            begun = sigma_next, z
            return z
        (middle, first), begun = begun, None
        return ((sigma - middle).sqrt() * first + (middle - sigma_next).sqrt() * z) / (sigma - sigma_next).sqrt()

    return noise


def states(routine: str, scheduler, predict, x: torch.Tensor, draw) -> list[torch.Tensor]:
    """x after each step, at the model's scale, over the levels that a diffusers scheduler has set.

    k-diffusion computes in float64 here, so that the reference has no rounding of its own to speak of.
    """
    sigmas = scheduler.sigmas.double()
    alphas = 1 / (1 + sigmas**2).sqrt()
    log_sigmas = np.log(np.array(((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5))

    def denoised(x, sigma):
        sigma = sigma[0].item()
        alpha = 1 / math.hypot(1, sigma)
        t = torch.tensor(scheduler._sigma_to_t(np.array(sigma), log_sigmas))
        data = predict((alpha * x).float(), t, (alpha, alpha * sigma))[0]
        # k-diffusion leaves x̂_0 to its caller; where the scheduler's class limits it, so does the service.
        limits = hasattr(scheduler, "_threshold_sample") and scheduler.config.thresholding
        return scheduler._threshold_sample(data) if limits else data

    normal = lambda *_: draw().double()
    noise = brownian(normal) if routine == "sample_dpmpp_sde" else normal
    seen = []
    arguments = {"noise_sampler": noise, "callback": lambda step: seen.append(step["x"]), "disable": True}
    last = getattr(sampling, routine)(denoised, x.double() / alphas[0], sigmas, eta=1, s_noise=1, **arguments)
    # The callback shows the state before each step.
    return [(alpha * x).float() for alpha, x in zip(alphas[1:], [*seen[1:], last])]
