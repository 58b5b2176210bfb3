"""Writes photo.webp: 3×2 pixels without loss, turned by EXIF (orientation 6), with an ICC profile. Needs Pillow."""

from pathlib import Path

from PIL import Image, ImageCms

image = Image.new("RGB", (3, 2))
image.putdata([(40 * i, 10, 200) for i in range(1, 7)])
exif = Image.Exif()
exif[0x0112] = 6
profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
image.save(Path(__file__).with_name("photo.webp"), lossless=True, exact=True, exif=exif, icc_profile=profile)
