# SPDX-License-Identifier: Apache-2.0
"""From times to what is told: of a runtime, and of two that were timed in the same rounds."""
import numpy as np


def summary(rounds):
    """`rounds`: a list of lists of ns. In ms, over all runs."""
    ms = np.concatenate([np.asarray(r, float) for r in rounds]) / 1e6
    return {"min": float(ms.min()), "median": float(np.median(ms)), "p95": float(np.percentile(ms, 95)), "runs": len(ms)}


def ratio(theirs, ours, of=np.median, resamples=4000):
    """Their time / ours. Each round gives one ratio, of `of` its runs: a disturbance that lasts through a round hits
    both sides alike. Told is the median over rounds with its bootstrap 95 % interval, and the ratio of the minima."""
    per_round = np.array([of(t) / of(o) for t, o in zip(theirs, ours)])
    picks = np.random.default_rng(0).integers(0, len(per_round), (resamples, len(per_round)))
    low, high = np.percentile(np.median(per_round[picks], axis=1), [2.5, 97.5])
    return {"median": float(np.median(per_round)), "low": float(low), "high": float(high),
            "by_min": float(min(map(min, theirs)) / min(map(min, ours))), "rounds": len(per_round)}


def p95_ratio(theirs, ours, resamples=2000):
    """The same of the 95th percentiles over all runs, resampled by rounds."""
    generator = np.random.default_rng(0)
    rounds = len(ours)

    def once(picks):
        return (np.percentile(np.concatenate([theirs[i] for i in picks]), 95)
                / np.percentile(np.concatenate([ours[i] for i in picks]), 95))

    low, high = np.percentile([once(generator.integers(0, rounds, rounds)) for _ in range(resamples)], [2.5, 97.5])
    return {"p95": float(once(range(rounds))), "p95_low": float(low), "p95_high": float(high)}
