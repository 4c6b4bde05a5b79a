# SPDX-License-Identifier: Apache-2.0
"""Writes networks for runtimes: a process of its own, since converters print, leak and sometimes crash.

Reads jobs as lines of JSON from stdin, answers each with a line. No driver: that is measure.py.
"""
import json
import os
import pathlib
import sys
import time
import traceback
import warnings


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what converters print goes to the log
    warnings.filterwarnings("ignore")
    import networks
    import runtimes
    import torch

    for line in sys.stdin:
        job = json.loads(line)
        start = time.monotonic()
        try:
            case = networks.Case.parse(job["case"])
            example = torch.from_numpy(networks.make_input(case))
            stem = pathlib.Path(job["stem"])
            stem.parent.mkdir(parents=True, exist_ok=True)
            if job["runtime"] is None:  # what all are compared with
                import numpy as np
                with torch.no_grad():
                    np.save(f"{stem}.npy", networks.build(case.network).double()(example.double()).numpy())
            else:
                runtime = runtimes.runtime(job["runtime"])
                variant = next(v for v in runtime.variants if v.name == job["variant"])
                runtime.export(variant, networks.build_form(case, variant.form), example, str(stem),
                               job["threads"], job["isa"])
            pathlib.Path(f"{stem}.done").touch()
            answer = {"seconds": time.monotonic() - start}
        except Exception as error:  # one converter's failure is a line in the report, not the end
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[:300]}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
