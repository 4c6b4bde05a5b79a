#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stores what every module of a PyTorch EfficientViT gives for one input, for first_difference to compare with.

  dump_activations.py efficientvit_b0.r224_in1k dump.safetensors --pretrained --image cat.jpg
  dump_activations.py efficientvit-seg-b0-cityscapes dump.safetensors --weights seg_b0.pt --size 512 1024

The first name is timm's; the second, with a hyphen, is the reference's, whose package `efficientvit` must then be
importable (PYTHONPATH=<its checkout>). A model of one's own:

  from dump_activations import dump
  dump(model, image, "dump.safetensors")    # image: a tensor (N, C, H, W)

Without weights they are random, norms included. PyTorch computes in float64, so that what differs afterwards is not its
rounding; --float32 has it compute as it usually does. timm's attention has another epsilon than the reference's, which
would hide what is looked for; it is set to that unless --keep-eps is given. Needs torch and safetensors, and timm for
timm's models.
"""
import argparse
import copy
import importlib

import numpy
import torch
from safetensors.torch import load_file, save_file


def dump(model, image, path, dtype=torch.float64, attention_eps=1e-15):
    """Writes `input`, `weights.<name>`, `activations.<module>` and `output`, all float32. The model stays as it is.
    attention_eps: what attention is to have, the reference's here; None for what it has."""
    model = copy.deepcopy(model).eval().to("cpu", dtype)
    for module in model.modules():
        if attention_eps is not None and type(module).__name__ == "LiteMLA":
            module.eps = attention_eps
    tensors = {"input": image}
    for name, values in model.state_dict().items():
        if values.is_floating_point():
            tensors[f"weights.{name}"] = values

    def keep(name):
        def hook(module, inputs, output):
            if isinstance(output, torch.Tensor) and output.dim() in (2, 4):
                # A copy: the next module may work in place.
                tensors[f"activations.{name}" if name else "output"] = output.detach().clone()
        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(keep(name))
    with torch.no_grad():
        model(image.to("cpu", dtype))
    save_file({name: values.detach().to("cpu", torch.float32).contiguous().clone() for name, values in tensors.items()},
              path)


def create(name, pretrained):
    """A timm model, or one of the reference, which calls the same `efficientvit-b0`."""
    if "-" not in name:
        import timm
        return timm.create_model(name, pretrained=pretrained)
    if pretrained:
        raise SystemExit("the reference's models take their weights from --weights FILE")
    task = next((task for task in ("seg", "sam") if f"-{task}-" in name), "cls")
    zoo = importlib.import_module(f"efficientvit.{task}_model_zoo")
    model = getattr(zoo, f"create_efficientvit_{task}_model")(name, pretrained=False)
    return model.image_encoder if task == "sam" else model


def load(model, path):
    """Whole checkpoints, state dicts, SAM's encoder out of a SAM."""
    weights = load_file(path) if path.endswith(".safetensors") else torch.load(path, "cpu", weights_only=True)
    weights = weights.get("state_dict", weights)
    if any(name.startswith("image_encoder.") for name in weights):
        weights = {name[14:]: values for name, values in weights.items() if name.startswith("image_encoder.")}
    model.load_state_dict(weights)


def randomize(model):
    """Keeps activations at their size, and lets no norm be an identity: a fault in one would not be seen."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_uniform_(module.weight, nonlinearity="linear")
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.LayerNorm)):
            torch.nn.init.uniform_(module.weight, 0.7, 1.1)
            torch.nn.init.uniform_(module.bias, -0.1, 0.1)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)


def read_image(path, size):
    """What both networks shall see, (1, 3, H, W); nothing depends on how it is made."""
    if path is None:
        return torch.rand(1, 3, *size) * 2 - 1
    if path.endswith(".npy"):
        return torch.from_numpy(numpy.load(path).astype(numpy.float32))
    from PIL import Image
    picture = numpy.asarray(Image.open(path).convert("RGB").resize(size[::-1]), numpy.float32) / 255
    return torch.from_numpy((picture - 0.45) / 0.225).permute(2, 0, 1)[None].contiguous()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="timm's or the reference's name")
    parser.add_argument("output", help="*.safetensors")
    parser.add_argument("--weights", metavar="FILE", help="a checkpoint or state dict: .pt, .pth, .bin, .safetensors")
    parser.add_argument("--pretrained", action="store_true", help="timm's published weights, which it downloads")
    parser.add_argument("--image", metavar="FILE", help="a picture, or .npy with (N, C, H, W); else random numbers")
    parser.add_argument("--size", nargs=2, type=int, default=(224, 224), metavar=("H", "W"), help="of a picture")
    parser.add_argument("--seed", type=int, default=0, help="of what is random")
    parser.add_argument("--float32", action="store_true", help="compute in float32")
    parser.add_argument("--keep-eps", action="store_true", help="leave attention the epsilon that it has")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    model = create(arguments.model, arguments.pretrained)
    if arguments.weights:
        load(model, arguments.weights)
    elif not arguments.pretrained:
        randomize(model)
    image = read_image(arguments.image, arguments.size)
    dump(model, image, arguments.output, torch.float32 if arguments.float32 else torch.float64,
         None if arguments.keep_eps else 1e-15)


if __name__ == "__main__":
    main()
