"""Measures the digits that a running service draws, with a classifier trained on MNIST as the judge.

Reports how many images carry the label asked for, and the Fréchet distance (Heusel et al. 2017) between the
classifier's features of the drawn images and of MNIST's 10,000 test images. The same distance for as many real training
images is given beside it: that is what a perfect generator would get, and it shrinks as the count grows.
"""

import argparse
import base64
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import requests
from PIL import Image

import classifier
import mnist

LABELS = [str(digit) for digit in range(10)]
IMAGES_A_REQUEST = 50
SEEDS = 2**32


def draw(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, dict]:
    """The images [N, 28, 28], the labels asked for [N], and what the service says that it used."""
    images, labels, settings = [], [], {}
    optional = {"sampler": args.sampler, "steps": args.steps, "guidance_scale": args.guidance_scale}
    chosen = {name: value for name, value in optional.items() if value is not None}
    for first in range(0, args.count, IMAGES_A_REQUEST):
        count = min(IMAGES_A_REQUEST, args.count - first)
        body = {"model": args.model, "label": LABELS[:count], "count": count, "seed": (args.seed + first) % SEEDS}
        answer = generate(args.url, {**body, **chosen})
        for i, drawn in enumerate(answer.pop("images")):
            if drawn["label"] != LABELS[i % len(LABELS)]:
                sys.exit(f"image {first + i} is labelled {drawn['label']}, but {LABELS[i % len(LABELS)]} was asked for")
            images.append(pixels(drawn))
            labels.append(int(drawn["label"]))
        settings = settings or answer
        print(f"\r{len(images)} of {args.count} images", end="", file=sys.stderr)
    print(file=sys.stderr)
    return np.stack(images), np.array(labels), settings


def pixels(image: dict) -> np.ndarray:
    """An image of an answer, u8 [H, W]."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image["png"]))).convert("L"))


def generate(url: str, body: dict) -> dict:
    """One request; a busy service is asked again when it says so."""
    while True:
        try:
            answer = requests.post(f"{url}/v1/generate", json=body, headers={"Accept": "application/json"}, timeout=600)
        except requests.ConnectionError:
            sys.exit(f"nothing answers at {url}: start denoised there, or give --url")
        if answer.status_code != 429:
            break
        time.sleep(int(answer.headers.get("Retry-After", 1)))
    if not answer.ok:
        sys.exit(f"{answer.status_code} from {url}/v1/generate: {answer.text.strip()}")
    return answer.json()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|μ_a − μ_b|² + Tr(C_a + C_b − 2(C_a C_b)^½), for features as rows.

    C_a C_b has the eigenvalues of the symmetric C_a^½ C_b C_a^½, so no root of a general matrix is needed.
    """
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def measure(args: argparse.Namespace) -> dict:
    judge, accuracy = classifier.load(args.classifier, args.data)
    images, labels, settings = draw(args)
    seen, features = classifier.judge(judge, images)
    real = classifier.judge(judge, mnist.load(args.data, "t10k")[0])[1]
    training = classifier.judge(judge, mnist.load(args.data, "train")[0][: len(images)])[1]
    right = seen == labels
    by_label = {label: float(right[labels == int(label)].mean()) for label in LABELS if int(label) in labels}
    return {
        "settings": settings,
        "images": len(images),
        "classifier_test_accuracy": accuracy,
        "right": float(right.mean()),
        "right_by_label": by_label,
        "frechet_distance": frechet(features, real),
        "frechet_distance_of_training_images": frechet(training, real),
    }


def table(report: dict) -> str:
    count = report["images"]
    lines = [
        "service: " + ", ".join(f"{name} {value}" for name, value in report["settings"].items()),
        f"classifier: {report['classifier_test_accuracy']:.2%} right on the test images",
        f"labels right: {report['right']:.1%} of {count} images",
        *(f"  {label}  {share:6.1%}" for label, share in report["right_by_label"].items()),
        f"Fréchet distance to the test images, {count} drawn: {report['frechet_distance']:.2f}",
        f"Fréchet distance to the test images, {count} of the training set: "
        f"{report['frechet_distance_of_training_images']:.2f}",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    flag = parser.add_argument
    flag("data", type=Path, help="directory with MNIST's four IDX files, plain or gzipped")
    flag("--url", default="http://localhost:8080", help="where the service listens (%(default)s)")
    flag("--model", default="digits", help="model to ask for (%(default)s)")
    flag("--count", type=int, default=1000, help="images to draw (%(default)s)")
    flag("--seed", type=int, default=0, help="seed of the first image (%(default)s)")
    flag("--sampler", help="the model's own when not given; so are the next two")
    flag("--steps", type=int)
    flag("--guidance-scale", type=float)
    flag("--classifier", type=Path, default=Path("runs/classifier.pt"), help="trained when missing (%(default)s)")
    flag("--require", type=float, nargs=2, metavar=("ALL", "EACH"), help="exit 1 below these shares right: 0.98 0.95")
    flag("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    report = measure(args)
    print(json.dumps(report, indent=2) if args.json else table(report))
    if args.require:
        overall, each = args.require
        if report["right"] < overall or min(report["right_by_label"].values()) < each:
            sys.exit(f"fewer labels are right than {overall:.1%} of all and {each:.1%} of each digit")


if __name__ == "__main__":
    main()
