"""A small convolutional classifier of handwritten digits: the judge that evaluate.py asks."""

import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import mnist

LEAST_ACCURACY = 0.99
FEATURES = 256
EPOCHS = 5
BATCH = 128


class Classifier(nn.Module):
    """Takes [N, 1, 28, 28] in [0, 1]. The features are what the last layer sees."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *block(1, 24, 5, stride=2),
            *block(24, 32, 3),
            nn.MaxPool2d(2),
            *block(32, 48, 3),
            nn.Flatten(),
            nn.Linear(48 * 7 * 7, FEATURES),
            nn.ReLU(),
        )
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(FEATURES, 10)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.features(images)))


def block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def tensor(images: np.ndarray) -> torch.Tensor:
    """Bytes [N, 28, 28] as [N, 1, 28, 28] in [0, 1]."""
    return torch.from_numpy(images.astype(np.float32))[:, None] / 255


def jittered(images: torch.Tensor) -> torch.Tensor:
    """Each image turned by up to 10 degrees and moved by up to 2 pixels."""
    count, _, height, _ = images.shape
    angle = (torch.rand(count) * 2 - 1) * math.radians(10)
    shift = (torch.rand(count, 2) * 2 - 1) * 2 / (height / 2)
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).reshape(count, 2, 3)
    grid = F.affine_grid(matrix, images.shape, align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


@torch.no_grad()
def judge(classifier: Classifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes [N] that the classifier sees, and the features [N, 256] in float64."""
    classes, features = [], []
    for part in tensor(images).split(1000):
        seen = classifier.features(part)
        features.append(seen.double().numpy())
        classes.append(classifier.head(seen).argmax(1).numpy())
    return np.concatenate(classes), np.concatenate(features)


def train(data: Path) -> Classifier:
    """A few passes over the 60,000 training images, under one rise and fall of the learning rate."""
    torch.manual_seed(0)
    images, labels = mnist.load(data, "train")
    images, labels = tensor(images), torch.from_numpy(labels.astype(np.int64))
    classifier = Classifier()
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.01)
    steps = EPOCHS * len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    order = torch.cat([torch.randperm(len(images)) for _ in range(EPOCHS)])
    since = time.monotonic()
    for step in range(steps):
        pick = order[step * BATCH : (step + 1) * BATCH]
        loss = F.cross_entropy(classifier(jittered(images[pick])), labels[pick], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"trained the classifier in {time.monotonic() - since:.0f} s", file=sys.stderr)
    return classifier.eval()


def load(path: Path, data: Path) -> tuple[Classifier, float]:
    """The classifier kept at path, or a new one trained and kept there, with its accuracy on the 10,000 test images."""
    if path.exists():
        classifier = Classifier().eval()
        classifier.load_state_dict(torch.load(path, weights_only=True))
    else:
        classifier = train(data)
    images, labels = mnist.load(data, "t10k")
    accuracy = float((judge(classifier, images)[0] == labels).mean())
    if accuracy < LEAST_ACCURACY:
        raise SystemExit(f"the classifier gets {accuracy:.2%} of the test images right, less than {LEAST_ACCURACY:.0%}")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(classifier.state_dict(), path)
    return classifier, accuracy
