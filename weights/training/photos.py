"""The photographs that the network learns from, and those held out to measure it.

Most come with Debian's lomiri-wallpapers-16.04, under CC-BY-4.0 but for one under CC0; a few small ones with the Python
package scikit-image, under CC0 or in the public domain. The large ones are shrunk by several factors: the camera's own
grain and the blocks of JPEG would be taught as part of the picture otherwise.

`python photos.py FOLDER OUT` writes the crops held out as PNGs, for evaluate_photo.py.
"""

import sys
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

TRAINING = (
    "Picture_1A_by_freespace",
    "Wine_by_Jakkub_Mede",
    "aitzgorri_by_Aitzol_Berasategi",
    "life_by_Aitzol_Berasategi",
    "picosdeeuropa_by_Aitzol_Berasategi",
    "seeding_by_Clements_Engelhardt",
    "sunset_by_Aitzol_Berasategi",
)
HELD_OUT = ("Picture_0B_by_freespace", "friends_by_Aitzol_Berasategi")
FACTORS = (2, 3, 4)
SMALL = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel")
SMALL_FACTORS = (1, 2)


def shrunk(path: Path, factor: int) -> np.ndarray:
    """The photograph at 1/factor of its size, u8 [H, W, 3]."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    return np.asarray(image.reduce(factor) if factor > 1 else image)


def training(folder: Path) -> list[np.ndarray]:
    large = [shrunk(folder / f"{name}.jpg", factor) for name in TRAINING for factor in FACTORS]
    package = Path(skimage.__file__).parent / "data"
    return large + [shrunk(package / f"{name}.png", factor) for name in SMALL for factor in SMALL_FACTORS]


def held_out(folder: Path) -> dict[str, np.ndarray]:
    """Crops of 320 by 480 pixels, as large as those of the usual test sets."""
    crops = {}
    for name in HELD_OUT:
        for factor in FACTORS:
            image = shrunk(folder / f"{name}.jpg", factor)
            top, left = (image.shape[0] - 320) // 2, (image.shape[1] - 480) // 2
            crops[f"{name}-{factor}"] = image[top : top + 320, max(left, 0) : max(left, 0) + 480]
    return crops


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for name, crop in held_out(folder).items():
        Image.fromarray(crop).save(out / f"{name}.png")


if __name__ == "__main__":
    main()
