# SPDX-License-Identifier: Apache-2.0
"""from_torch() beside timm itself, which computes in float64: features and logits of networks of random weights. By hand, since
it needs PyTorch, timm and safetensors: compare_timm.py [--models b0 l1] [--sizes 1x224x224]."""

import argparse
import pathlib
import sys

import timm
import torch

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "timm"))
from compare import ALLOWED, random_network  # noqa: E402

import efficientvit_cpu as ev


def error(found, expected):
    return (torch.from_numpy(found).double().reshape(expected.shape) - expected).abs().max() / expected.abs().max()


def stages(network, x):
    """The maps of a classifier's stages, and its logits."""
    out = {"logits": network(x)}
    x = out["stage0"] = network.stem(x)
    for i, stage in enumerate(network.stages):
        x = out[f"stage{i + 1}"] = stage(x)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["b0", "b1", "b2", "b3", "l1", "l2", "l3"])
    parser.add_argument("--sizes", nargs="+", default=["1x224x224", "2x97x131"], help="NxHxW")
    arguments = parser.parse_args()
    worst = 0.0
    for model in arguments.models:
        network = random_network(f"efficientvit_{model}", 0)
        classifier, backbone = ev.from_torch(network), ev.from_torch(network, f"backbone_{model}")
        assert classifier.name == f"cls_{model}", classifier.name
        network = network.double()
        for size in arguments.sizes:
            batch, height, width = map(int, size.split("x"))
            x = torch.rand(batch, 3, height, width) * 2 - 1
            with torch.no_grad():
                expected = stages(network, x.double())
            found = {"logits": classifier(x), **backbone.features(x)}  # tensors in, by DLPack
            errors = {name: error(found[name], values).item() for name, values in expected.items()}
            worst = max(worst, *errors.values())
            print(f"{model} {size}:", *(f"{name} {value:.1e}" for name, value in errors.items()), flush=True)
    features = timm.create_model("efficientvit_b0", pretrained=False, features_only=True)
    assert ev.from_torch(features).name == "backbone_b0"
    tagged = ev.from_torch(timm.create_model("efficientvit_b1.r288_in1k", pretrained=False))
    assert (tagged.name, tagged.input_size) == ("cls_b1", (288, 288)), tagged
    print(f"largest difference {worst:.2e}, allowed {ALLOWED:.0e}")
    sys.exit(not worst <= ALLOWED)


main()
