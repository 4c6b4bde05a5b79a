#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes timm_b0_40x56.safetensors beside it: what dump_activations.py stores of timm's efficientvit_b0, for the weights
of tests/golden_values.hpp, without these and without what is inside blocks. Needs torch, timm and safetensors."""
import json
import pathlib
import re
import sys

import timm
import torch
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[2] / "examples" / "difference"))
sys.path.append(str(HERE.parents[1]))
from dump_activations import dump  # noqa: E402
from golden_values import golden_tensor  # noqa: E402

BLOCKS = r"(stem\.\w+|stages\.\d\.blocks\.\d(\.\w+_module)?|head\.(in_conv|global_pool|classifier\.[24]))"


def tensor(name, shape):
    return torch.from_numpy(golden_tensor(name, shape))


model = timm.create_model("efficientvit_b0", pretrained=False)
names = {timm_name: name for name, timm_name in
         json.loads((HERE.parent / "names" / "timm_names_cls_b0.json").read_text()).items()}
model.load_state_dict({name: tensor(names[name], list(values.shape)) if name in names else values
                       for name, values in model.state_dict().items()})
output = HERE / "timm_b0_40x56.safetensors"
dump(model, tensor("input", [1, 3, 40, 56]), output)
save_file({name: values for name, values in load_file(output).items()
           if name == "input" or re.fullmatch(r"activations\." + BLOCKS, name)}, output)
