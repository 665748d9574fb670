"""Polyphonic music: log-likelihood per frame and expected accuracy of the next frame, and models without time.

    python benchmarks/pianorolls.py [--set jsb_chorales|nottingham] [--seeds 0,1,2] [--test-frames N] [--validate]
    python benchmarks/pianorolls.py --defaults [--set jsb_chorales|nottingham] [--seeds 0] [--models FOLDER]

The sets are those of Boulanger-Lewandowski, Bengio and Vincent (2012), with their split, in the folder `pianorolls` of
DEEPBELIEF_DATA: 88 notes, 0 or 1. Epochs are chosen by the log-likelihood of validation frames, settings were chosen on
them too (--validate prints these and leaves the test frames alone). log Z of each frame's machine is by annealed
importance sampling; the results are the mean and the interval of 3 standard errors, with the bias subtracted from the
lower end. Accuracy is TP / (TP + FP + FN) summed over all frames (Bay, Ehmann and Downie 2009), of the expected frame
and of notes that are predicted where they are likelier than a threshold (see `accuracy`). Results are added to
pianorolls.json.

With --defaults no setting is given: `RecurrentRBM()` is fitted to the training sequences and holds some of them out to
decide when to stop; validation frames only choose the threshold of the accuracy. All test frames are judged.
"""

import argparse
import copy
import json
import os
import time
from pathlib import Path

import numpy as np
from common import HERE, add

from deepbelief import RBM, RecurrentRBM, load, save
from deepbelief.gradients import CD
from deepbelief.recurrent.generation import expected_frames
from deepbelief.seeds import stream

COMMON = {"n_components": 150, "n_recurrent": 100, "gibbs_steps": 10, "truncation": 100}
SETS = {
    "jsb_chorales": {
        "net": COMMON | {"pretrain_frames": 60, "batch_size": 8, "learning_rate": 0.001, "weight_decay": 1e-3},
        "rounds": 16, "epochs": 5, "patience": 2,
    },
    "nottingham": {
        "net": COMMON | {"pretrain_frames": 6, "batch_size": 8, "learning_rate": 0.001, "weight_decay": 1e-4},
        "rounds": 6, "epochs": 5, "patience": 2,
    },
}  # fmt: skip
QUICK = {"n_runs": 5, "betas": 1000}  # on validation frames, to choose the epoch
FULL = {"n_runs": 10, "betas": 1000}
THRESHOLDS = [i / 20 for i in range(2, 13)]


def read(name):
    """Return (frames, lengths) of the three splits."""
    data = np.load(Path(os.environ["DEEPBELIEF_DATA"]) / "pianorolls" / f"{name}.npz")
    lengths, split = np.diff(data["offsets"]), data["split"]
    by_frame = np.repeat(split, lengths)
    return [(data["roll"][by_frame == i].astype(np.float32), lengths[split == i]) for i in range(3)]


def some_sequences(frames, lengths, most, seed=0):
    """Return whole sequences, drawn at random, up to a number of frames; all sequences if they have no more."""
    if len(frames) <= most:
        return frames, lengths
    parts = np.split(frames, np.cumsum(lengths)[:-1])
    order = np.random.default_rng(seed).permutation(len(parts))
    kept = order[np.cumsum(lengths[order]) <= most]
    return np.concatenate([parts[i] for i in kept]), lengths[kept]


def independent(train, judged):
    """Return the log-likelihood per frame under independent columns."""
    p = (train.sum(axis=0) + 0.5) / (len(train) + 1)
    return float((judged @ np.log(p) + (1 - judged) @ np.log1p(-p)).mean())


def accuracy(model, valid, judged):
    """Return TP / (TP + FP + FN) of each frame given those before it, the first ones included.

    ``expected`` takes the expected frame in the place of predicted notes; ``at_half`` predicts notes of more than 0.5,
    ``at_threshold`` those of more than a threshold that is best for the validation frames.
    """

    def expectation(frames, lengths):
        bk, _, before, _ = model._states(frames, lengths)
        return expected_frames(model.machine_, before, bk, bk.rng(stream(0, "accuracy")), n_chains=10, betas=1000)

    def score(frames, predicted):
        true = float((frames * predicted).sum())
        return true / float(frames.sum() + predicted.sum() - true)

    before, p = expectation(*valid), expectation(*judged)
    threshold = max(THRESHOLDS, key=lambda t: score(valid[0], before > t))
    frames = judged[0]
    return {
        "expected": score(frames, p), "at_half": score(frames, p > 0.5), "threshold": threshold,
        "at_threshold": score(frames, p > threshold),
    }  # fmt: skip


def train(settings, train_set, valid, seed):
    """Train in rounds of epochs until the validation frames stop improving; return the best model and the history."""
    model = RecurrentRBM(**settings["net"], n_iter=settings["epochs"], warm_start=True, random_state=seed)
    best, way = None, []
    for _ in range(settings["rounds"]):
        began = time.perf_counter()
        model.fit(train_set[0], lengths=train_set[1])
        seconds = time.perf_counter() - began
        score = model.log_likelihood(*valid, **QUICK)
        way.append({"epochs": model.n_iter_, "validation": score.mean, "low": score.low, "seconds": seconds})
        print(f"  epoch {model.n_iter_}: {score}, {seconds:.0f} s", flush=True)
        if best is None or score.low > best[0]:
            best = score.low, copy.deepcopy(model), len(way)
        elif len(way) - best[2] >= settings["patience"]:
            break
    return best[1], way


def by_default(name, train_set, valid, test, seed, folder):
    """Fit `RecurrentRBM()`, and add its likelihood of the test frames, its accuracy and its cost to the results."""
    began = time.perf_counter()
    model = RecurrentRBM(random_state=seed).fit(train_set[0], lengths=train_set[1])
    result = {"settings": "defaults", "seconds_training": time.perf_counter() - began, "epochs": model.n_iter_}
    result["resolved"] = {key: found.value for key, found in model.resolved_.items()}
    print(f"{name}: trained in {result['seconds_training']:.0f} s, {result['resolved']}", flush=True)
    if folder:
        save(model, f"{folder}/{name}-defaults-{seed}.h5")
    began = time.perf_counter()
    score = model.log_likelihood(*test, **FULL)
    result |= {"log_likelihood": score.mean, "low": score.low, "high": score.high, "method": score.method}
    result |= {"frames": len(test[0]), "test_frames": len(test[0]), "seconds_annealing": time.perf_counter() - began}
    print(f"{name} defaults, seed {seed}: {score}", flush=True)
    add("pianorolls", "runs", f"{name} defaults, seed {seed}", value=result)
    result["accuracy"] = accuracy(model, valid, test)
    add("pianorolls", "runs", f"{name} defaults, seed {seed}", value=result)
    print(f"  accuracy {result['accuracy']}", flush=True)


def frame_rbm(settings, frames, judged, seed):
    """Return the log-likelihood per frame of an RBM of single frames, trained as in pretraining."""
    net = settings["net"]
    gradient = CD(net["gibbs_steps"], sample_visible=True)
    rbm = RBM(net["n_components"], gradient=gradient, n_iter=net["pretrain_frames"], random_state=seed).fit(frames)
    found = rbm.log_likelihood(judged)
    return {"log_likelihood": found.mean, "low": found.low, "high": found.high}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=SETS, default="jsb_chorales")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--test-frames", type=int, default=5000, help="of whole sequences drawn at random, for log Z")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--defaults", action="store_true", help="give no setting")
    parser.add_argument("--models", help="folder that the best models are saved in")
    parser.add_argument("--accuracy", action="store_true", help="only that, of models which an earlier run saved")
    options = parser.parse_args()
    settings, (train_set, valid, test) = SETS[options.set], read(options.set)
    valid = some_sequences(*valid, 1000)
    seeds = list(map(int, options.seeds.split(",")))
    if options.defaults:
        for seed in seeds:
            by_default(options.set, train_set, valid, test, seed, options.models)
        return
    if options.validate:
        train(settings, train_set, valid, seeds[0])
        return
    judged, found = some_sequences(*test, options.test_frames), []
    for seed in seeds:
        if options.accuracy:
            name = f"{options.set} seed {seed}"
            result = json.loads((HERE / "pianorolls.json").read_text())["runs"][name]
            result["accuracy"] = accuracy(load(f"{options.models}/{options.set}-{seed}.h5"), valid, judged)
            add("pianorolls", "runs", name, value=result)
            print(name, result["accuracy"], flush=True)
            continue
        model, way = train(settings, train_set, valid, seed)
        if options.models:
            save(model, f"{options.models}/{options.set}-{seed}.h5")
        began = time.perf_counter()
        score = model.log_likelihood(*judged, **FULL)
        seconds = time.perf_counter() - began
        result = {
            "settings": settings, "epochs": model.n_iter_, "log_likelihood": score.mean, "low": score.low,
            "high": score.high, "method": score.method, "frames": len(judged[0]), "test_frames": len(test[0]),
            "accuracy": accuracy(model, valid, judged), "independent": independent(train_set[0], test[0]),
            "independent_judged": independent(train_set[0], judged[0]),
            "seconds_annealing": seconds, "seconds_training": sum(w["seconds"] for w in way), "way": way,
        }  # fmt: skip
        add("pianorolls", "runs", f"{options.set} seed {seed}", value=result)
        print(
            f"{options.set} seed {seed}: {score}; accuracy {result['accuracy']}, {seconds:.0f} s",
            flush=True,
        )
        result["frame_rbm"] = frame_rbm(settings, train_set[0], judged[0], seed)
        add("pianorolls", "runs", f"{options.set} seed {seed}", value=result)
        print(f"  frame RBM {result['frame_rbm']}, independent columns {result['independent']:.2f}", flush=True)
        found.append([score.mean, result["accuracy"]["at_threshold"]])
    if not found:
        return
    mean, deviation = np.mean(found, axis=0), np.std(found, axis=0, ddof=min(1, len(found) - 1))
    print(f"mean {mean[0]:.3f} (s.d. {deviation[0]:.2g}), accuracy {100 * mean[1]:.1f} % ({100 * deviation[1]:.2g})")


if __name__ == "__main__":
    main()
