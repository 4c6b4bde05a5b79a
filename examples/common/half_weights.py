# SPDX-License-Identifier: Apache-2.0
"""Weights as the training scripts keep them: safetensors in float16, which are float32 again when they are read."""

from safetensors.torch import load_file, save_file


def write_weights(path, model, how):
    """A model's state dict, `how` it came about in the metadata. Ends the program where a value is too large for float16."""
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    bad = [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if bad:
        raise SystemExit(f"not finite in float16: {', '.join(bad)}")
    partial = path.with_suffix(".partial")
    # One entry: several would be written in another order each time.
    save_file({k: v.contiguous() for k, v in state.items()}, partial, metadata={"description": how})
    partial.replace(path)


def read_state(path):
    return {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
