# SPDX-License-Identifier: Apache-2.0
"""Pictures: Pillow's own preprocessing, and labels against an interpolation in NumPy."""

import numpy
import pytest
from conftest import golden_weights

import efficientvit_cpu as ev

Image = pytest.importorskip("PIL.Image")
MEAN, STD = numpy.array((0.485, 0.456, 0.406)), numpy.array((0.229, 0.224, 0.225))


def normalized(pixels):
    x = (numpy.asarray(pixels) / 255 - MEAN) / STD
    return x.transpose(2, 0, 1)[None]


def pillow_input(photo, short, side):
    image = Image.fromarray(photo)
    width, height = image.size
    size = (int(short * width / height), short) if height <= width else (short, int(short * height / width))
    image = image.resize(size, Image.BICUBIC)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return normalized(image.crop((left, top, left + side, top + side)))


@pytest.mark.parametrize(
    "name, short, side",
    [("cls_b0", 236, 224), ("efficientvit_b0.r224_in1k", 235, 224), ("efficientvit-b0-r288", 304, 288)],
)
def test_classifiers(b0_weights, photo, name, short, side):
    model = ev.load(b0_weights, name)
    x = model.preprocess(photo)
    assert x.shape == (1, 3, side, side)
    assert numpy.abs(x - pillow_input(photo, short, side)).max() < 2e-6
    small = model.preprocess(photo, size=64, crop_ratio=1)
    assert numpy.abs(small - pillow_input(photo, 64, 64)).max() < 2e-6


def test_pictures_of_every_kind(b0_weights, photo):
    model = ev.load(b0_weights, "backbone_b0")
    expected = model.preprocess(photo)
    for picture in (Image.fromarray(photo), Image.fromarray(photo).convert("RGBA"), photo[..., ::-1].copy()[..., ::-1]):
        assert (model.preprocess(picture) == expected).all()
    gray = Image.fromarray(photo).convert("L")
    assert (model.preprocess(gray) == model.preprocess(numpy.array(gray))).all()
    whole = model.preprocess(photo, fit="whole")
    assert numpy.abs(whole - normalized(photo)).max() < 2e-6
    for wrong in (photo / 255.0, photo.astype(int), "photo.jpg"):
        with pytest.raises(TypeError, match="uint8"):
            model.preprocess(wrong)
    with pytest.raises(ev.ShapeError, match=r"\(H, W, 3\)"):
        model.preprocess(photo.transpose(2, 0, 1))
    with pytest.raises(ev.ImageError):
        model.preprocess(numpy.zeros((0, 5, 3), numpy.uint8))
    with pytest.raises(ev.ConfigError, match="fit"):
        model.preprocess(photo, fit="best")


def test_pictures_are_not_turned(b0_weights, photo, tmp_path):
    """As the docstring says, and the guide's first example does it before."""
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by 90 degrees
    Image.fromarray(photo).save(tmp_path / "side.png", exif=exif)
    model = ev.load(b0_weights, "backbone_b0")
    assert (model.preprocess(Image.open(tmp_path / "side.png")) == model.preprocess(photo)).all()
    assert "exif_transpose" in ev.Model.preprocess.__doc__


def cubic_matrix(inputs, outputs):
    """What F.interpolate(mode="bicubic", align_corners=False) multiplies a column by."""
    matrix, a = numpy.zeros((outputs, inputs)), -0.75
    for i in range(outputs):
        at = inputs / outputs * (i + 0.5) - 0.5
        floor = int(numpy.floor(at))
        for k in range(floor - 1, floor + 3):
            d = abs(at - k)
            weight = (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
            matrix[i, min(max(k, 0), inputs - 1)] += weight
    return matrix


def test_segmenters(photo):
    model = ev.load(golden_weights("seg_b0_cityscapes"))
    height, width = photo.shape[:2]
    x = model.preprocess(photo, fit="whole")
    frame = x.shape[2:]
    assert frame == tuple(-(-side // 32) * 32 for side in (height, width))
    logits = model(x)[0]
    full = cubic_matrix(logits.shape[1], frame[0]) @ logits.astype(float) @ cubic_matrix(logits.shape[2], frame[1]).T
    labels = model.segment(photo, fit="whole")
    assert labels.dtype == numpy.uint8 and labels.shape == (height, width)
    assert (labels == full.argmax(0)[:height, :width]).mean() > 0.9999
    assert (model.segment(Image.fromarray(photo), fit="whole") == labels).all()
    with pytest.raises(ev.ConfigError, match="no segmenter"):
        ev.load(golden_weights("backbone_b0")).segment(photo)
