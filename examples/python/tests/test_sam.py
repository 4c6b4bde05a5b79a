# SPDX-License-Identifier: Apache-2.0
"""Segment anything: the reference's answers, its method names, and the module that stands in for it."""

import json
import signal
import threading

import numpy
import pytest
from conftest import golden, golden_tensor, golden_weights, write_safetensors

import efficientvit_cpu as ev
from efficientvit_cpu import compat

CASES = ["point", "points_single", "box", "box_point", "mask_point", "batch"]


@pytest.fixture(scope="module")
def weights():
    return golden_weights("sam_l0_whole")


@pytest.fixture(scope="module")
def sam(weights):
    return ev.load_sam(weights, threads=2)


def prompts_of(case):
    points, boxes = case.get("points"), case.get("boxes")
    return {
        "point_coords": None if points is None else numpy.array(points),
        "point_labels": None if points is None else numpy.array(case["labels"]),
        "boxes": None if boxes is None else numpy.array(boxes),
        "mask_input": golden_tensor("mask_input", (1, 1, 256, 256)) if case.get("mask") else None,
        "multimask_output": case["multi"],
    }


def error(found, expected):
    return numpy.abs(found.astype(float) - expected).max() / numpy.abs(expected).max()


@pytest.mark.parametrize("name", CASES)
def test_goldens(sam, name):
    expected, metadata = golden(f"sam_prompt_{name}")
    case = json.loads(metadata["case"])
    predictor = ev.SamPredictor(sam)
    predictor.set_image_embedding(golden_tensor("embedding", (1, 256, 64, 64)), tuple(case["size"]))
    assert predictor.is_image_set and predictor.original_size == tuple(case["size"])
    assert predictor.input_size == tuple(json.loads(metadata["input_size"]))
    prompts = prompts_of(case)
    logits, iou, low_res = predictor.predict_batch(**prompts, return_logits=True)
    step = 256 // expected["low_res"].shape[2]
    assert error(low_res[..., ::step, ::step], expected["low_res"]) <= 1e-5
    assert error(iou, expected["iou"]) <= 1e-5
    step = -(-case["size"][0] // expected["full"].shape[2])
    assert error(logits[..., ::step, ::step], expected["full"]) <= 1e-5
    masks = predictor.predict_batch(**prompts)[0]
    assert masks.dtype == bool and (masks == (logits > 0)).all()
    assert (numpy.abs(masks.sum(axis=(2, 3)) - expected["area"]) <= 2).all()

    # the reference's predict_torch() has the frame's coordinates
    frame = compat.EfficientViTSamPredictor(sam)
    frame.set_image_embedding(golden_tensor("embedding", (1, 256, 64, 64)), tuple(case["size"]))
    if prompts["point_coords"] is not None:
        prompts["point_coords"] = frame.transform.apply_coords(prompts["point_coords"])
    if prompts["boxes"] is not None:
        prompts["boxes"] = frame.transform.apply_boxes(prompts["boxes"])
    again, iou_again, _ = frame.predict_torch(**prompts)
    assert error(iou_again, iou) <= 1e-5 and (again == masks).mean() > 0.9999


def test_predict(sam, photo):
    predictor = ev.SamPredictor(sam)
    with pytest.raises(ev.PromptError, match="set_image"):
        predictor.predict(point_coords=[[5, 5]], point_labels=[1])
    assert predictor.features is None and predictor.original_size is None
    predictor.set_image(photo)
    height, width = photo.shape[:2]
    assert predictor.features.shape == (1, 256, 64, 64)
    masks, iou, low_res = predictor.predict(numpy.array([[60, 40], [5, 5]]), numpy.array([1, 0]))
    assert masks.shape == (3, height, width) and iou.shape == (3,) and low_res.shape == (3, 256, 256)
    one, _, _ = predictor.predict(
        box=numpy.array([5, 6, 60, 70]), mask_input=low_res[[iou.argmax()]], multimask_output=False
    )
    assert one.shape == (1, height, width)

    other = ev.SamPredictor(sam)
    other.set_image(photo[..., ::-1], image_format="BGR")
    assert (other.get_image_embedding() == predictor.get_image_embedding()).all()
    predictor.reset_image()
    assert not predictor.is_image_set


def test_blue_first(photo, monkeypatch):
    """What changes is the order of colours, whatever kind of picture has them."""
    pictures = pytest.importorskip("PIL.Image")
    encoded = []
    monkeypatch.setattr("efficientvit_cpu._core.EncodedImage.of_image", lambda sam, image: encoded.append(image))

    def red_first(picture):
        ev.SamPredictor(None).set_image(picture, "BGR")
        return numpy.array(pictures.fromarray(numpy.ascontiguousarray(encoded.pop())).convert("RGB"))

    colours = pictures.fromarray(photo)
    gray, palette = colours.convert("L"), colours.quantize(16)
    for picture in (numpy.array(gray), gray, gray.convert("P"), gray.convert("LA")):
        assert numpy.array_equal(red_first(picture), numpy.array(gray.convert("RGB")))
    assert numpy.array_equal(red_first(palette), numpy.array(palette.convert("RGB"))[..., ::-1])
    for picture in (photo, colours, colours.convert("RGBA")):
        assert numpy.array_equal(red_first(picture), photo[..., ::-1])


def test_the_picture_before_stays_until_another_is_encoded(sam):
    """Threads that share a predictor never meet one without a picture."""
    predictor = ev.SamPredictor(sam)
    predictor.set_image_embedding(numpy.zeros((1, 256, 64, 64), numpy.float32), (60, 90))
    seen = []

    class Picture:
        mode = "RGB"

        def convert(self, mode):
            seen.append(predictor.original_size)
            raise ValueError("no picture")

    with pytest.raises(ValueError, match="no picture"):
        predictor.set_image(Picture())
    with pytest.raises(ev.ShapeError):
        predictor.set_image_embedding(numpy.zeros((1, 256, 32, 64), numpy.float32), (9, 9))
    assert seen == [(60, 90)] and predictor.original_size == (60, 90)


def test_mask_input_with_gaps(sam, photo):
    """What had to be copied is still there when the prompts are answered."""
    predictor = ev.SamPredictor(sam)
    predictor.set_image(photo)
    plain = numpy.random.default_rng(0).normal(0, 5, (8, 1, 256, 256)).astype(numpy.float32)
    gaps = numpy.repeat(plain, 2, axis=-1)[..., ::2]
    assert not gaps.flags.c_contiguous
    expected, found = (predictor.predict_batch(mask_input=masks, multimask_output=False) for masks in (plain, gaps))
    for of_plain, of_gaps in zip(expected, found):
        assert numpy.array_equal(of_plain, of_gaps)


def test_wrong_prompts(sam, photo):
    predictor = ev.SamPredictor(sam)
    with pytest.raises(ValueError, match="RGB"):
        predictor.set_image(photo, "XYZ")
    predictor.set_image(photo)
    for wrong, kind, text in (
        ({}, ev.PromptError, "neither"),
        ({"point_coords": [[9999, 5]], "point_labels": [1]}, ev.PromptError, "9999"),
        ({"point_coords": [[numpy.nan, 5]], "point_labels": [1]}, ev.PromptError, "nan"),
        ({"point_coords": [[5, 5]], "point_labels": [7]}, ev.PromptError, "labels"),
        ({"point_coords": [[5, 5]]}, ev.PromptError, "together"),
        ({"point_coords": [[5, 5, 5]], "point_labels": [1]}, ev.ShapeError, "point_coords"),
        ({"point_coords": [[5, 5]], "point_labels": [1, 1]}, ev.ShapeError, "point_labels"),
        ({"box": [50, 5, 5, 9]}, ev.PromptError, "empty"),
        ({"box": [[1, 1, 9, 9], [2, 2, 9, 9]]}, ev.ShapeError, "box has the shape"),
        ({"box": numpy.zeros((0, 4))}, ev.ShapeError, "box has the shape"),
        ({"box": [5, 5, 9, 9], "mask_input": numpy.zeros((1, 64, 64))}, ev.ShapeError, "256"),
    ):
        with pytest.raises(kind, match=text):
            predictor.predict(**wrong)
    with pytest.raises(ev.ShapeError, match="prompts"):
        predictor.predict_batch([[[5, 5]], [[6, 6]]], [[1], [1]], [[1, 1, 9, 9]])
    with pytest.raises(ev.ShapeError, match="embedding"):
        predictor.set_image_embedding(numpy.zeros((1, 256, 32, 64), numpy.float32), (9, 9))


@pytest.mark.parametrize("multimask, logits, masks", [(True, False, 3), (False, True, 1)])
def test_no_prompts(sam, multimask, logits, masks):
    """A detector that found nothing."""
    none = {
        "boxes": numpy.zeros((0, 4)),
        "point_coords": numpy.zeros((0, 2, 2)),
        "mask_input": numpy.zeros((0, 1, 256, 256), numpy.float32),
    }
    frame = compat.EfficientViTSamPredictor(sam)
    frame.set_image_embedding(golden_tensor("embedding", (1, 256, 64, 64)), (60, 90))
    for name, array in none.items():
        prompts = {name: array} | ({"point_labels": numpy.zeros((0, 2))} if name == "point_coords" else {})
        for predict in (frame.predict_batch, frame.predict_torch):
            found, iou, low_res = predict(**prompts, multimask_output=multimask, return_logits=logits)
            assert (found.shape, found.dtype) == ((0, masks, 60, 90), numpy.float32 if logits else bool)
            assert iou.shape == (0, masks) and low_res.shape == (0, masks, 256, 256)
    for points, boxes in ((0, 2), (2, 0)):
        with pytest.raises(ev.ShapeError, match=f"boxes has {boxes} prompts, expected {points}"):
            frame.predict_batch(numpy.ones((points, 1, 2)), numpy.ones((points, 1)), numpy.ones((boxes, 4)))


def test_one_predictor_of_many_threads(sam, photo):
    """Who sets a picture does not disturb who still asks the last one."""
    predictor = ev.SamPredictor(sam)
    predictor.set_image_embedding(golden_tensor("embedding", (1, 256, 64, 64)), (60, 90))
    failed = []

    def ask():
        for _ in range(4):
            masks, _, _ = predictor.predict([[10, 10]], [1])
            if masks.shape not in ((3, 60, 90), (3, 61, 91)):
                failed.append(masks.shape)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    predictor._encoded = type(predictor._encoded).of_embedding(sam, golden_tensor("embedding", (1, 256, 64, 64)), 61, 91)
    for thread in threads:
        thread.join()
    assert not failed


def decoded(rle):
    """Run lengths down each column, zeros first."""
    height, width = rle["size"]
    values = numpy.repeat(numpy.arange(len(rle["counts"])) % 2, rle["counts"])
    return values.reshape(width, height).T.astype(bool)


def test_generator(sam, photo):
    options = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 0.99}
    records = ev.SamAutomaticMaskGenerator(sam, **options).generate(photo)
    assert records
    assert [r["predicted_iou"] for r in records] == sorted((r["predicted_iou"] for r in records), reverse=True)
    for record in records:
        mask = record["segmentation"]
        assert mask.shape == photo.shape[:2] and mask.dtype == bool and mask.sum() == record["area"]
        rows, columns = numpy.nonzero(mask)
        if record["area"]:
            x, y = int(columns.min()), int(rows.min())
            assert record["bbox"] == [x, y, int(columns.max()) - x, int(rows.max()) - y]
        assert record["crop_box"] == [0, 0, photo.shape[1], photo.shape[0]]
        assert numpy.shape(record["point_coords"]) == (1, 2)
    runs = ev.SamAutomaticMaskGenerator(sam, **options, output_mode="uncompressed_rle").generate(photo)
    assert all((decoded(a["segmentation"]) == b["segmentation"]).all() for a, b in zip(runs, records))
    coco = ev.SamAutomaticMaskGenerator(sam, **options, output_mode="coco_rle").generate(photo)
    assert all(isinstance(r["segmentation"]["counts"], str) for r in coco) and len(coco) == len(records)

    side = numpy.linspace(1 / 6, 5 / 6, 3)
    grid = numpy.stack(numpy.meshgrid(side, side), axis=-1).reshape(-1, 2)
    del options["points_per_side"]
    own = ev.SamAutomaticMaskGenerator(sam, points_per_side=None, point_grids=[grid], **options).generate(photo)
    assert [r["area"] for r in own] == [r["area"] for r in records]

    with pytest.raises(ValueError, match="exactly one"):
        ev.SamAutomaticMaskGenerator(sam, points_per_side=None)
    with pytest.raises(ev.ConfigError, match="output_mode"):
        ev.SamAutomaticMaskGenerator(sam, output_mode="png").generate(photo)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer")
def test_signals_end_the_generator(sam, photo):
    """As Ctrl-C does. Without looks in between, a handler is called once, after the last batch."""
    calls = []

    def handler(*_):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, 0.005)

    generator = ev.SamAutomaticMaskGenerator(sam, points_per_side=4, points_per_batch=1)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        with pytest.raises(KeyboardInterrupt):
            generator.generate(photo)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert isinstance(generator.generate(photo[:64, :64]), list)


@pytest.mark.parametrize(
    "options, kind, text",
    [
        ({"points_per_side": 2.0}, TypeError, "points_per_side is 2.0"),
        ({"points_per_side": "2"}, TypeError, "points_per_side is '2'"),
        ({"points_per_batch": None}, TypeError, "points_per_batch is None"),
        ({"points_per_batch": -(2**40)}, ValueError, "points_per_batch is -1099"),
        ({"crop_n_layers": 0.5}, TypeError, "crop_n_layers is 0.5"),
        ({"box_nms_thresh": None}, TypeError, "box_nms_thresh is None"),
        ({"min_mask_region_area": 10**12}, ValueError, "min_mask_region_area is 1000000000000"),
        ({"min_mask_region_area": numpy.nan}, ValueError, "min_mask_region_area is nan"),
        ({"output_mode": None}, TypeError, "output_mode is None"),
        ({"points_per_side": None, "point_grids": numpy.array([[0.5, 0.5]])}, ev.ShapeError, r"point_grids\[0\] has the shape"),
        ({"points_per_side": None, "point_grids": [[[0.5, 0.5, 0.5]]]}, ev.ShapeError, r"point_grids\[0\] has the shape"),
    ],
)
def test_wrong_options(sam, options, kind, text):
    with pytest.raises(kind, match=text):
        ev.SamAutomaticMaskGenerator(sam, **options)


def test_compat(weights, sam, photo, tmp_path):
    """The calls of the reference's demonstration, in its order."""
    path = tmp_path / "efficientvit_sam_l0.safetensors"
    write_safetensors(path, weights)
    model = compat.create_efficientvit_sam_model("efficientvit-sam-l0", True, str(path)).cuda().eval()
    assert model.to("cuda:0").float() is model and model.image_size == (1024, 512)
    predictor = compat.EfficientViTSamPredictor(model)
    generator = compat.EfficientViTSamAutomaticMaskGenerator(
        model, pred_iou_thresh=0.0, stability_score_thresh=0.0, min_mask_region_area=100.0, points_per_side=2
    )
    masks = generator.generate(photo)
    assert {"segmentation", "area", "bbox"} <= set(masks[0])
    predictor.set_image(photo)
    masks, _, _ = predictor.predict(
        point_coords=numpy.array([(60, 40)]), point_labels=numpy.array([1]), multimask_output=True
    )
    expected = ev.SamPredictor(sam)
    expected.set_image(photo)
    assert (masks == expected.predict([(60, 40)], [1])[0]).all()
    masks, _, _ = predictor.predict(
        point_coords=None, point_labels=None, box=numpy.array([5, 6, 60, 70]), multimask_output=False
    )
    assert masks.shape == (1, *photo.shape[:2])


def test_compat_networks(b0_file, b0_weights, tmp_path, monkeypatch):
    x = golden_tensor("input", (1, 3, 64, 96))
    expected = ev.load(b0_file)(x)
    model = compat.create_efficientvit_cls_model("efficientvit-b0-r224", weight_url=str(b0_file)).cuda().eval()
    assert (model(x) == expected).all() and model.half() is model
    bare = compat.create_cls_model("b0-r224", pretrained=False)
    with pytest.raises(ev.ConfigError, match="no weights"):
        bare(x)
    bare.load_state_dict(b0_weights)
    assert (bare(x) == expected).all()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="efficientvit_seg_l1_ade20k.pt"):
        compat.create_efficientvit_seg_model("efficientvit-seg-l1", "ade20k")
    with pytest.raises(ev.ConfigError, match="download"):
        compat.create_efficientvit_sam_model("efficientvit-sam-l0", weight_url="https://example.org/l0.pt")
