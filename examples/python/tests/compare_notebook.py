# SPDX-License-Identifier: Apache-2.0
"""The calls of the reference's predictor notebook, twice: with the reference's classes (PyPI's `efficientsam`) and with those of
efficientvit_cpu.compat, whose import is all that differs. By hand, since it needs PyTorch (tests/torch/compare_sam.py says
what to install): compare_notebook.py photo.jpg. The network is l0 with random weights."""

import pathlib
import sys

import numpy as np
import torch
from PIL import Image

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "torch"))
from compare_sam import random_model  # noqa: E402


def notebook(efficientvit_sam, EfficientViTSamPredictor, image):
    """What the notebook does after its imports and create_efficientvit_sam_model(...)."""
    height, width = image.shape[:2]
    efficientvit_sam = efficientvit_sam.eval()
    predictor = EfficientViTSamPredictor(efficientvit_sam)
    predictor.set_image(image)
    results = []

    input_point = np.array([[width * 0.6, height * 0.5]])
    input_label = np.array([1])
    masks, scores, logits = predictor.predict(point_coords=input_point, point_labels=input_label, multimask_output=True)
    results.append((masks, scores))

    input_point = np.array([[width * 0.6, height * 0.5], [width * 0.4, height * 0.6]])
    input_label = np.array([1, 0])
    mask_input = logits[np.argmax(scores), :, :]
    masks, scores, _ = predictor.predict(
        point_coords=input_point, point_labels=input_label, mask_input=mask_input[None, :, :], multimask_output=False
    )
    results.append((masks, scores))

    input_box = np.array([width * 0.2, height * 0.2, width * 0.8, height * 0.9])
    masks, scores, _ = predictor.predict(point_coords=None, point_labels=None, box=input_box, multimask_output=False)
    results.append((masks, scores))

    input_boxes = torch.tensor([[5, 6, width // 2, height // 2], [width // 3, height // 3, width - 5, height - 9]])
    transformed_boxes = torch.as_tensor(predictor.transform.apply_boxes(input_boxes.numpy()), dtype=torch.float)
    masks, scores, _ = predictor.predict_torch(
        point_coords=None, point_labels=None, boxes=transformed_boxes, multimask_output=False
    )
    assert masks.shape == (2, 1, height, width)
    results.append((masks.cpu().numpy(), scores.cpu().numpy()))
    return results


def main():
    import efficientvit_cpu as ev
    from efficientsam.models.efficientvit.sam import EfficientViTSamPredictor
    from efficientvit_cpu import compat

    image = np.array(Image.open(sys.argv[1]).convert("RGB"))
    model = random_model("sam_l0")
    expected = notebook(model, EfficientViTSamPredictor, image)
    ours = compat.create_efficientvit_sam_model("efficientvit-sam-l0", pretrained=False).cuda()
    ours.load_state_dict(model.state_dict())
    found = notebook(ours, compat.EfficientViTSamPredictor, image)
    worst = 0.0
    for (masks, scores), (masks_expected, scores_expected) in zip(found, expected):
        assert masks.shape == masks_expected.shape and masks.dtype == masks_expected.dtype
        differ = (masks != masks_expected).mean()
        worst = max(worst, differ)
        iou = np.abs(scores - scores_expected).max()
        print(f"{masks.shape}: {differ:.1e} of the pixels differ, {masks_expected.mean():.2f} are set; scores by {iou:.1e}")
    assert isinstance(ev.from_torch(model), ev.Sam)
    sys.exit(worst > 1e-3)


main()
