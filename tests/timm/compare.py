# SPDX-License-Identifier: Apache-2.0
"""Compares the library with timm's own implementation on networks of random weights.

timm computes in float64, which makes it an oracle: what is left is this library's rounding. Needs torch, timm and
safetensors, and the program made of forward.cpp.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import timm
import torch
from safetensors.torch import load_file, save_file

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "difference"))
from dump_activations import randomize  # noqa: E402

# Largest difference beside the largest value.
ALLOWED = 1e-5


def random_network(name, seed):
    """A timm model with norms that are anything but identities, and the reference's eps in attention."""
    torch.manual_seed(seed)
    model = timm.create_model(name, pretrained=False).eval()
    randomize(model)
    for module in model.modules():
        if isinstance(module, timm.models.efficientvit_mit.LiteMLA):
            module.eps = 1e-15
    return model


def run(program, model, weights, image, folder):
    save_file(weights, folder / "weights.safetensors")
    save_file({"input": image}, folder / "input.safetensors")
    files = [folder / name for name in ("weights.safetensors", "input.safetensors", "outputs.safetensors")]
    subprocess.run([program, model, *files], check=True)
    return load_file(folder / "outputs.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path, help="forward.cpp, compiled")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sizes", nargs="+", default=["1x224x224", "2x97x131"], help="NxHxW")
    parser.add_argument("--models", nargs="+", default=["b0", "b1", "b2", "b3", "l1", "l2", "l3"])
    arguments = parser.parse_args()

    worst = 0.0
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = pathlib.Path(name)
        for model in arguments.models:
            for seed in range(arguments.seeds):
                network = random_network(f"efficientvit_{model}", seed)
                weights = {key: value.clone() for key, value in network.state_dict().items()}
                network = network.double()
                for size in arguments.sizes:
                    batch, height, width = map(int, size.split("x"))
                    image = torch.rand(batch, 3, height, width) * 2 - 1
                    expected = {"logits": network(image.double())}
                    map_after = network.stem(image.double())
                    expected["stage0"] = map_after
                    for i, stage in enumerate(network.stages):
                        map_after = stage(map_after)
                        expected[f"stage{i + 1}"] = map_after
                    found = run(arguments.program, f"cls_{model}", weights, image, folder)
                    found |= run(arguments.program, f"backbone_{model}", weights, image, folder)
                    errors = []
                    for output, values in expected.items():
                        difference = found[output].double().reshape(values.shape) - values
                        errors.append((difference.abs().max() / values.abs().max()).item())
                    worst = max(worst, *errors)
                    texts = " ".join(f"{output} {error:.1e}" for output, error in zip(expected, errors))
                    print(f"{model} seed {seed} {size}: {texts}", flush=True)
    print(f"largest difference {worst:.2e}, allowed {ALLOWED:.0e}")
    if not worst <= ALLOWED:
        sys.exit(1)


if __name__ == "__main__":
    main()
