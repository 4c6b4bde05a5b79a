# SPDX-License-Identifier: Apache-2.0
"""The reference's whole SAMs (PyPI's `efficientsam`), with weights, and l0's two halves as ONNX. No benchmark."""
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
SHAPES = HERE.parents[1] / "examples" / "segment_anything"
SIDE, FRAME = 512, 1024  # of l0's input, of prompts
MEAN = np.array((123.675, 116.28, 103.53), np.float32)
STD = np.array((58.395, 57.12, 57.375), np.float32)


def build(name):
    """"sam_l0", or "shapes": the small SAM that is trained on drawn shapes."""
    if name == "shapes":
        sys.path.insert(0, str(SHAPES))
        import shapes_network
        return shapes_network.build_model().eval()
    from efficientsam.models.efficientvit.sam import efficientvit_sam_l0
    from efficientsam.models.nn.norm import set_norm_eps
    model = efficientvit_sam_l0()
    set_norm_eps(model, 1e-6)
    return model.eval()


def load(model, path):
    from safetensors.torch import load_file
    weights = {name: tensor.float() for name, tensor in load_file(path).items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    left = [name for name in missing if not name.endswith("num_batches_tracked")] + unexpected
    if left:
        raise RuntimeError(f"{path}: {left[0]} and perhaps more do not fit")


def write_l0(folder):
    """Weights of l0, its encoder's made from names, its decoder's random, and both as ONNX: the encoder with attention
    and interpolation of plain products, the decoder from embedding and point. All that is constant is folded."""
    import networks
    import sam_decoder
    import torch
    from safetensors.torch import save_file
    prompts, masks, decoder = sam_decoder.reference()
    with torch.no_grad():
        masks.iou_prediction_head.layers[-1].bias += 1  # IoUs above 0: a threshold that is not would be none
    case = networks.Case.parse(f"sam_l0@{SIDE}")
    encoder = networks.build(case.network)
    parts = {"image_encoder": encoder.weights(), "prompt_encoder": prompts.state_dict(), "mask_decoder": masks.state_dict()}
    save_file({f"{part}.{name}": tensor.contiguous() for part, tensors in parts.items() for name, tensor in tensors.items()},
              folder / "sam_l0.safetensors")
    image = torch.zeros(case.shape)
    embedding, point = torch.zeros(1, 256, 64, 64), torch.zeros(1, 1, 2)
    for path, module, example, inputs, outputs in (
            ("encoder.onnx", networks.build_form(case, "products"), (image,), ["image"], ["embedding"]),
            ("decoder.onnx", decoder, (embedding, point), ["embedding", "point"], ["low_res", "iou"])):
        torch.onnx.export(module, example, str(folder / path), dynamo=True, external_data=False, verbose=False,
                          input_names=inputs, output_names=outputs, opset_version=18)
