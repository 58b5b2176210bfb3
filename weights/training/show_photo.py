"""Draws the picture in the photographs' model card: a held-out photograph, the same with noise, and what the running
service makes of that in one step and in several."""

import argparse
import io
from pathlib import Path

import numpy as np
import requests
from PIL import Image

import photos

NAME, FACTOR = "friends_by_Aitzol_Berasategi", 3
TOP, LEFT, SIDE = 250, 170, 288
SIGMA, STEPS = 50, (1, 10)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def denoised(url: str, noisy: np.ndarray, steps: int) -> np.ndarray:
    params = {"model": "photo", "sigma": SIGMA, "steps": steps}
    answer = requests.post(f"{url}/v1/denoise", params=params, data=png(noisy), headers={"Content-Type": "image/png"}, timeout=600)
    answer.raise_for_status()
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    flag = parser.add_argument
    flag("data", type=Path, help="directory with the photographs")
    flag("out", type=Path, help="PNG to write")
    flag("--url", default="http://localhost:8080", help="where the service listens (%(default)s)")
    args = parser.parse_args()
    clean = photos.shrunk(args.data / f"{NAME}.jpg", FACTOR)[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape)
    noisy = np.round((clean + noise).clip(0, 255)).astype(np.uint8)
    shown = [noisy, *(denoised(args.url, noisy, steps) for steps in STEPS), clean]
    gap = np.full((SIDE, 4, 3), 255, np.uint8)
    columns = [part for picture in shown for part in (picture, gap)][:-1]
    args.out.write_bytes(png(np.concatenate(columns, 1)))


if __name__ == "__main__":
    main()
