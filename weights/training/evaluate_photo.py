"""Measures how well photographs are denoised: PSNR and SSIM by σ, on any folder of clean images.

Seeded noise is added in float. By the published protocol (DnCNN and after) it is neither clipped nor quantised and goes
straight into the exported network, in one step; a user's picture is both, and goes through the running service as a PNG
of 8 and of 16 bits. The noisy input and BM3D, told the same σ, stand beside them.
"""

import argparse
import io
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime
import png
import requests
from PIL import Image
from skimage.metrics import structural_similarity

SIGMAS = (15, 25, 50)
STEP = 8  # the network takes multiples of it
ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}


def clean_images(folder: Path) -> list[tuple[str, np.ndarray]]:
    """Every image of a folder, u8 [H, W, 3]."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not paths:
        sys.exit(f"{folder} has no images")
    return [(path.stem, np.asarray(Image.open(path).convert("RGB"))) for path in paths]


class Network:
    """The exported network, in one step from the timestep whose σ is the picture's."""

    def __init__(self, bundle: Path):
        options = onnxruntime.SessionOptions()
        self.session = onnxruntime.InferenceSession(bundle / "unet" / "model.onnx", options, ["CPUExecutionProvider"])
        config = json.loads((bundle / "scheduler" / "scheduler_config.json").read_text())
        betas = np.linspace(config["beta_start"], config["beta_end"], config["num_train_timesteps"], dtype=np.float32)
        cumprod = np.cumprod(1 - betas.astype(np.float64))
        self.logs = np.log(np.sqrt((1 - cumprod) / cumprod))

    def denoise(self, noisy: np.ndarray, sigma: float, whole: bool) -> np.ndarray:
        """noisy and the answer are [H, W, 3] in [0, 1]; with whole, the timestep is rounded."""
        ratio = sigma * 2 / 255  # the network's pixels are in [−1, 1]
        t = np.interp(np.log(ratio), self.logs, np.arange(len(self.logs)))
        height, width, _ = noisy.shape
        padded = np.pad(noisy, ((0, -height % STEP), (0, -width % STEP), (0, 0)), mode="edge")
        x = ((padded * 2 - 1) / np.hypot(1, ratio)).transpose(2, 0, 1)[None].astype(np.float32)
        timestep = np.array([round(t) if whole else t], np.float32)
        (noise,) = self.session.run(None, {"sample": x, "timestep": timestep})
        data = (noisy * 2 - 1) - ratio * noise[0].transpose(1, 2, 0)[:height, :width]
        return (data + 1) / 2


def upload(url: str, noisy: np.ndarray, sigma: float | None, bits: int) -> tuple[np.ndarray, float]:
    """Through the service, as a PNG: clipped and quantised. With the picture comes the σ that was used."""
    most = 2**bits - 1
    pixels = np.round(noisy.clip(0, 1) * most).astype(np.uint16 if bits == 16 else np.uint8)
    height, width, _ = pixels.shape
    file = io.BytesIO()
    png.Writer(width, height, greyscale=False, bitdepth=bits).write(file, pixels.reshape(height, width * 3))
    headers = {"Content-Type": "image/png"}
    params = {"model": "photo", "sigma": sigma}  # None is left out
    answer = requests.post(f"{url}/v1/denoise", params=params, data=file.getvalue(), headers=headers, timeout=600)
    if not answer.ok:
        sys.exit(f"{answer.status_code} from {url}/v1/denoise: {answer.text.strip()}")
    _, _, rows, info = png.Reader(bytes=answer.content).read()
    values = np.vstack([np.asarray(row) for row in rows]).reshape(height, width, info["planes"])
    return values[..., :3] / (2 ** info["bitdepth"] - 1), float(answer.headers["Denoised-Sigma"])


def measure(clean: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """PSNR in dB over all pixels and channels, and SSIM, of the answer rounded to 8 bits."""
    rounded = np.round(found.clip(0, 1) * 255).astype(np.uint8)
    error = np.mean((clean.astype(np.float64) - rounded) ** 2)
    ssim = structural_similarity(clean, rounded, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    return 10 * np.log10(255**2 / max(error, 1e-10)), ssim


def methods(args: argparse.Namespace, taken: dict[float, list[float]]) -> dict:
    """Ways from a noisy image and its σ to a clean one, by their names; taken gets the σ that the service estimates."""

    def blind(noisy: np.ndarray, sigma: float) -> np.ndarray:
        pixels, estimated = upload(args.url, noisy, None, 8)
        taken[sigma].append(estimated)
        return pixels

    found = {"noisy": lambda noisy, sigma: noisy}
    if args.bundle:
        network = Network(args.bundle)
        found["network"] = lambda noisy, sigma: network.denoise(noisy, sigma, False)
        found["network, whole timestep"] = lambda noisy, sigma: network.denoise(noisy, sigma, True)
    if args.url:
        found["service, 16 bits"] = lambda noisy, sigma: upload(args.url, noisy, sigma, 16)[0]
        found["service, 8 bits"] = lambda noisy, sigma: upload(args.url, noisy, sigma, 8)[0]
        found["service, 8 bits, σ estimated"] = blind
    if args.bm3d:
        import bm3d

        found["bm3d"] = lambda noisy, sigma: bm3d.bm3d_rgb(noisy, sigma / 255)
    return found


def noised(images: list[tuple[str, np.ndarray]], sigma: float, seed: int):
    """Pairs of a clean image, in 8 bits, and the noisy one, float and neither clipped nor quantised."""
    random = np.random.default_rng(seed)
    return ((clean, clean / 255 + random.normal(0, sigma / 255, clean.shape)) for _, clean in images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    flag = parser.add_argument
    flag("folder", type=Path, help="folder of clean images")
    flag("--bundle", type=Path, default=Path("../photo"), help="whose network to measure (%(default)s)")
    flag("--url", help="where the service listens; without it only the network is measured")
    flag("--bm3d", action="store_true", help="measure the PyPI package bm3d too: minutes an image")
    flag("--sigma", type=float, nargs="+", default=SIGMAS)
    flag("--seed", type=int, default=0)
    args = parser.parse_args()
    taken = defaultdict(list)
    images, ways = clean_images(args.folder), methods(args, taken)
    print(f"{len(images)} images, mean PSNR in dB / SSIM")
    print("| | " + " | ".join(f"σ {sigma:g}" for sigma in args.sigma) + " |")
    print("| --- |" + " ---: |" * len(args.sigma))
    for name, way in ways.items():
        cells = []
        for sigma in args.sigma:
            scores = [measure(clean, way(noisy, sigma)) for clean, noisy in noised(images, sigma, args.seed)]
            psnr, ssim = np.mean(scores, axis=0)
            cells.append(f"{psnr:.2f} / {ssim:.4f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    if taken:
        cells = (f"{np.mean(found):.1f} ({min(found):.1f} to {max(found):.1f})" for found in taken.values())
        print("| σ estimated | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
