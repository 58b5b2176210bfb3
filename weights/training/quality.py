"""Measures what each sampler makes of few evaluations of the network, judged as evaluate.py does.

A cell is a sampler with a σ schedule at a number of evaluations. Its digits are kept under --runs in chunks of ten, one
of each label, so that a run that was cut goes on where it was and a larger count draws only what is missing. All cells are
drawn first, and the 1000-step DDPM that they are measured by; then those that came close to it for the fewest evaluations
are drawn again with more digits, and the cheapest of them that stays within 5 % is the one to use.
"""

import argparse
import json
import queue
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests

import classifier
import evaluate
import mnist

CHUNK = len(evaluate.LABELS)
BUDGETS = (4, 6, 8, 10, 15, 20, 50)
# LCM and TCD need a distilled network, and Euler is DDIM without its clipping.
CONTENDERS = (
    ("ddpm", "native"),
    ("ddim", "native"),
    ("euler_a", "native"),
    ("heun", "native"),
    ("lms", "native"),
    ("pndm", "native"),
    ("ipndm", "native"),
    ("deis", "native"),
    ("dpmpp_2m", "native"),
    ("dpmpp_2m", "karras"),
    ("dpmpp_2m_sde", "native"),
    ("dpmpp_sde", "native"),
    ("unipc", "native"),
    ("unipc", "karras"),
)
GUIDANCE = 2
CLOSE, ENOUGH = 1.15, 1.05  # times the reference's distance: to be drawn again, to be chosen
FINALISTS = 8


@dataclass(frozen=True)
class Cell:
    sampler: str
    schedule: str
    steps: int
    evaluations: int

    @property
    def name(self) -> str:
        return f"{self.sampler}-{self.schedule}-{self.steps}"

    def request(self, first: int) -> dict:
        body = {"model": "digits", "label": evaluate.LABELS, "count": CHUNK, "seed": first, "steps": self.steps}
        return body | {"sampler": self.sampler, "schedule": self.schedule, "spacing": "trailing", "guidance_scale": GUIDANCE}


REFERENCE = Cell("ddpm", "native", 1000, 1000)


def within(sampler: str, schedule: str, budget: int, per_step: int) -> Cell:
    """The longest run of at most budget evaluations: a step to clean data takes one, PNDM's first two."""
    steps = (budget + 1) // 2 if per_step == 2 else budget - 1 if sampler == "pndm" else budget
    return Cell(sampler, schedule, steps, 2 * steps - 1 if per_step == 2 else budget)


def cells(url: str) -> list[Cell]:
    pages = requests.get(f"{url}/v1/samplers", timeout=10).json()["samplers"]
    per_step = {page["name"]: page["evaluations_per_step"] for page in pages}
    return [within(sampler, schedule, budget, per_step[sampler]) for sampler, schedule in CONTENDERS for budget in BUDGETS]


def draw(wanted: list[tuple[Cell, int]], urls: list[str], runs: Path) -> None:
    """Draws what is missing of each cell's first digits, each service on a thread of its own."""
    missing, failed = queue.SimpleQueue(), []
    for cell, count in wanted:
        for first in range(0, count, CHUNK):
            path = runs / cell.name / f"{first:05d}.npy"
            if not path.exists():
                missing.put((cell, first, path))
    total = missing.qsize()

    def work(url: str) -> None:
        while True:
            try:
                cell, first, path = missing.get_nowait()
            except queue.Empty:
                return
            try:
                keep(path, evaluate.generate(url, cell.request(first)))
            except (Exception, SystemExit) as error:
                failed.append(f"{cell.name}, seed {first}: {error}")
                return
            print(f"\r{total - missing.qsize()} of {total} chunks, {cell.name} ", end="", file=sys.stderr)

    threads = [threading.Thread(target=work, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit("\n".join(["", *failed]))


def keep(path: Path, answer: dict) -> None:
    """Writes a chunk whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, np.stack([evaluate.pixels(image) for image in answer["images"]]))
    part.rename(path)


class Judge:
    """Label accuracy and Fréchet distance to MNIST's test images."""

    def __init__(self, args: argparse.Namespace):
        self.network, _ = classifier.load(args.classifier, args.data)
        self.real = self.look(mnist.load(args.data, "t10k")[0])[1]
        self.runs = args.runs

    def look(self, images: np.ndarray):
        return classifier.judge(self.network, images)

    def measure(self, cell: Cell, count: int) -> dict:
        images = np.concatenate([np.load(self.runs / cell.name / f"{i:05d}.npy") for i in range(0, count, CHUNK)])
        seen, features = self.look(images)
        right = float((seen == np.arange(count) % CHUNK).mean())
        distance = evaluate.frechet(features, self.real)
        return {**vars(cell), "count": count, "right": right, "distance": distance}


def finalists(measured: list[tuple[Cell, dict]], bar: float) -> list[Cell]:
    close = [(cell, row) for cell, row in measured if row["distance"] <= CLOSE * bar]
    close.sort(key=lambda pair: (pair[0].evaluations, pair[1]["distance"]))
    return [cell for cell, _ in close[:FINALISTS]]


def tables(report: dict) -> str:
    """Two Markdown tables: distance (and labels right) of every cell, then the finalists."""
    budgets = " | ".join(map(str, BUDGETS))
    lines = [f"| sampler, schedule | {budgets} |", "| --- |" + " ---: |" * len(BUDGETS)]
    rows = iter(report["cells"])
    for sampler, schedule in CONTENDERS:
        line = [next(rows) for _ in BUDGETS]
        shown = " | ".join(f"{row['distance']:.2f} ({row['right']:.1%})" for row in line)
        lines.append(f"| `{sampler}`, {schedule} | {shown} |")
    lines += ["", "| finalist | steps | evaluations | labels right | distance | to the reference |", "| --- |" + " ---: |" * 5]
    bar = report["reference"]["distance"]
    for row in [*report["finalists"], report["reference"]]:
        lines.append(
            f"| `{row['sampler']}`, {row['schedule']} | {row['steps']} | {row['evaluations']} | {row['right']:.1%} "
            f"| {row['distance']:.2f} | {row['distance'] / bar:.3f} |"
        )
    return "\n".join(lines)


def plot(report: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    rows = iter(report["cells"])
    styles = ("-", "--", ":")
    for i, (sampler, schedule) in enumerate(CONTENDERS):
        line = [next(rows) for _ in BUDGETS]
        label = sampler if schedule == "native" else f"{sampler}, {schedule}"
        points = [row["evaluations"] for row in line], [row["distance"] for row in line]
        axes.plot(*points, styles[i // 10] + "o", ms=3, label=label)
    axes.axhline(report["first"]["distance"], color="black", lw=1)
    axes.text(3, report["first"]["distance"], "ddpm, 1000 steps", va="bottom", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="evaluations of the network an image", ylabel="Fréchet distance")
    axes.set_xticks(BUDGETS, map(str, BUDGETS))
    axes.minorticks_off()
    axes.set_title(f"{report['first']['count']} digits a point, guidance {GUIDANCE}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    flag = parser.add_argument
    flag("data", type=Path, help="directory with MNIST's four IDX files, plain or gzipped")
    flag("--url", action="append", help="where a service listens; repeat it for several (http://localhost:8080)")
    flag("--count", type=int, default=500, help="digits of each cell (%(default)s)")
    flag("--final", type=int, default=2000, help="digits of the finalists and the reference (%(default)s)")
    flag("--runs", type=Path, default=Path("runs/quality"), help="where the digits are kept, by the model's checksum (%(default)s)")
    flag("--classifier", type=Path, default=Path("runs/classifier.pt"), help="trained when missing (%(default)s)")
    flag("--plot", type=Path, default=Path("runs/quality/quality.png"), help="picture to draw (%(default)s)")
    args = parser.parse_args()
    urls = args.url or ["http://localhost:8080"]
    args.runs /= requests.get(f"{urls[0]}/v1/models/digits", timeout=10).json()["checksum"][:16]
    every = cells(urls[0])
    draw([(cell, args.count) for cell in [REFERENCE, *every]], urls, args.runs)
    judge = Judge(args)
    measured = [(cell, judge.measure(cell, args.count)) for cell in every]
    first = judge.measure(REFERENCE, args.count)
    chosen = finalists(measured, first["distance"])
    draw([(cell, args.final) for cell in [*chosen, REFERENCE]], urls, args.runs)
    reference = judge.measure(REFERENCE, args.final)
    report = {"reference": reference, "first": first, "cells": [row for _, row in measured]}
    report["finalists"] = [judge.measure(cell, args.final) for cell in chosen]
    good = [row for row in report["finalists"] if row["distance"] <= ENOUGH * reference["distance"]]
    report["cheapest"] = min(good, key=lambda row: (row["evaluations"], row["distance"]), default=reference)
    (args.runs / "quality.json").write_text(json.dumps(report, indent=1) + "\n")
    plot(report, args.plot)
    print(tables(report))
    print("\nthe cheapest within 5 % of the reference:", json.dumps(report["cheapest"]))


if __name__ == "__main__":
    main()
