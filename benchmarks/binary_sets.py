"""RBMs as density models of small binary sets, beside independent columns, independent groups and mixtures.

    python benchmarks/binary_sets.py [--sets mushrooms dna ...] [--seeds 3] [--arms pcd ptt]

The sets of Larochelle and Murray (2011) and Lowd and Davis (2010), `DEEPBELIEF_DATA` naming the folder that holds
binary-uci/. Groups of columns that exclude each other are found in the training rows and become softmax units; a group
is used only if no row of any part breaks it. Every state of the encoded rows is one of the bits, so that all
log-likelihoods are those of the bits.

"columns" and "groups" are independent ones. "mixture" is one of products of groups, fitted by expectation maximisation,
whose number of parts is chosen by validation rows. "pcd" and "ptt" are RBMs: 500 chains, minibatches of 500 rows, one
Gibbs step, centred units, a rate that is constant for half of the updates and then falls to 0. Settings, and the state
of a run, are those of the best validation log-likelihood; each seed is then judged on the test rows, once. log Z is
enumerated where one side has at most 25 units. Else the quoted value is at the low end of the interval of annealing
from the independent model; the means by annealing back from test rows and, for up to 20,000 weights, by a ladder of
machines stand beside it.

"pcd, equal time" makes nine times as many updates, which take as long as those of "ptt".

"recipe" has the settings of `deepbelief.recipes.DENSITY`, and the hidden units, the updates and the weight decay of
`SETTINGS`. An RBM of one-hot groups has these settings by default, with about 6,000 updates and a weight decay of 3e-4;
the chosen runs of mushrooms and pumsb_star have 12,000 updates. Sets without groups are trained in this way if the
settings, or ``visible="groups"``, are given. Results are written to `binary_sets.json` after each run; runs that are
there are not repeated. The file also has seeds 1 and 2 of mushrooms with 20 hidden units and 6,000 updates, which were
not chosen.
"""

import argparse
import json
import os
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from common import HERE, add

from deepbelief import RBM
from deepbelief.components import Component
from deepbelief.errors import DeepBeliefWarning
from deepbelief.likelihood import ladder_log_z, log_likelihood, reverse_ais_log_z
from deepbelief.recipes.density_rules import DENSITY
from deepbelief.sources import ArraySource, SubsetSource, exclusive_groups

BATCH = 500
PER_EPOCH = 100  # updates
LADDER = 20_000  # weights
STATES = (0.6, 0.8, 1.0)  # shares of a run after which validation rows judge its state
PARTS = (1, 10, 30, 100)  # of mixtures
STEPS = 60  # of expectation maximisation
PRIOR = 0.1  # counts of each state and part


@dataclass(frozen=True)
class Setting:
    """Settings of an RBM that validation rows choose from."""

    n_hidden: int
    rate: float
    updates: int
    decay: float


SETTINGS = {
    "mushrooms": {
        "recipe": [Setting(20, 0.005, 6000, 3e-4), Setting(25, 0.005, 6000, 3e-4), Setting(25, 0.005, 12_000, 3e-4)],
        "ptt": [Setting(20, 0.3, 5000, 0.0)],
        "pcd": [Setting(20, 0.1, 5000, 0.0), Setting(20, 0.3, 5000, 0.0)],
        "pcd, equal time": [Setting(20, 0.1, 45_000, 0.0)],
    },
    "dna": {
        "recipe": [Setting(20, 0.005, 6000, 3e-4)],
        "pcd": [Setting(20, 0.05, 4000, 1e-3), Setting(100, 0.05, 6000, 7e-3)],
    },
    "baudio": {
        "recipe": [Setting(100, 0.005, 6000, 3e-4)],
        "pcd": [Setting(100, 0.2, 12_000, 3e-4), Setting(200, 0.2, 12_000, 6e-4)],
    },
    "bnetflix": {
        "recipe": [Setting(100, 0.005, 6000, 3e-4)],
        "pcd": [Setting(100, 0.2, 12_000, 3e-4)],
    },
    "nltcs": {"recipe": [Setting(50, 0.005, 6000, 3e-4)], "pcd": [Setting(50, 0.5, 20_000, 1e-4)]},
    "nips": {"pcd": [Setting(50, 0.03, 3000, 3e-2)]},
    "bbc": {"pcd": [Setting(100, 0.05, 2500, 4e-3)]},
    "pumsb_star": {"recipe": [Setting(22, 0.005, 12_000, 3e-4)]},
    "moviereview": {
        "recipe": [Setting(20, 0.005, 2000, 3e-3), Setting(20, 0.005, 2000, 1e-2)],
        "pcd": [Setting(50, 0.03, 3000, 6e-3)],
    },
}
"""Settings that are tried, by set and arm, in the order of the sets' worth."""


def splits(name):
    """Return the training, validation and test rows of a set as float32."""
    folder = Path(os.environ["DEEPBELIEF_DATA"]) / "binary-uci"
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        return [file[part].astype(np.float32) for part in ("train", "valid", "test")]


def columns_apart(train, test):
    """Return the log-likelihood of rows under independent columns fitted to the training rows."""
    p = (train.sum(axis=0, dtype=np.float64) + 0.5) / (len(train) + 1)
    return float((test * np.log(p) + (1 - test) * np.log1p(-p)).sum(axis=1).mean())


def states(groups, rows):
    """Return encoded rows with two columns for each single bit, and the group of each column."""
    n = len(groups.single)
    bits = rows[:, rows.shape[1] - n :]
    group = np.repeat(np.arange(len(groups.sizes)), groups.sizes)
    own = np.arange(n) + len(groups.sizes)
    return np.hstack([rows, 1 - bits]).astype(np.float64), np.concatenate([group, own, own])


def mixture(train, valid, test, group, parts, seed=0):
    """Return the validation and test log-likelihood of a mixture of products of groups."""
    rng = np.random.default_rng(seed)
    each = rng.dirichlet(np.ones(parts), len(train)) if parts > 1 else np.ones((len(train), 1))
    member = group[:, None] == np.arange(group.max() + 1)
    best = (-np.inf, -np.inf)
    for step in range(STEPS if parts > 1 else 1):
        counts = train.T @ each + PRIOR
        log_p = np.log(counts) - np.log(member.T.astype(float) @ counts)[group]
        log_share = np.log(each.sum(axis=0) + PRIOR)
        log_share -= np.logaddexp.reduce(log_share)
        if parts == 1 or step % 5 == 4:
            score, judged = (
                float(np.logaddexp.reduce(rows @ log_p + log_share, axis=1).mean()) for rows in (valid, test)
            )
            best = max(best, (score, judged))
        joint = train @ log_p + log_share
        each = np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None])
    return best


def baselines(name, parts, groups):
    """Return the test log-likelihoods of models without hidden units, and of the best mixture."""
    coded = [states(groups, rows)[0] for rows in (groups.encode(part) for part in parts)]
    group = states(groups, groups.encode(parts[0][:1]))[1]
    found = {
        "columns": columns_apart(parts[0], parts[2]),
        "groups": mixture(*coded, group, 1)[1],
    }
    tried = {n: mixture(*coded, group, n) for n in PARTS[1:] if n < len(coded[0])}
    n = max(tried, key=lambda n: tried[n])
    found["mixture"] = {"parts": n, "valid": tried[n][0], "test": tried[n][1]}
    print(f"{name:12}{found}", flush=True)
    return found


def fall(position):
    """Return the factor of the rate: 1 for half of the run, then falling to 0."""
    return min(1.0, 2 * (1 - position))


def snapshots(kept):
    """Return a component that appends the weights after each epoch to a list."""

    @dataclass(frozen=True)
    class Snapshots(Component):
        name = "snapshots"

        def end_epoch(self, step, state):
            kept.append(step.machine.weights())

    return Snapshots()


def fit(train, visible, gradient, setting, seed):
    """Return weights at `STATES` of a run, the last record of its history, and its processor seconds."""
    rng, n = np.random.default_rng(seed), BATCH * PER_EPOCH
    drawn = np.concatenate([rng.permutation(len(train)) for _ in range(-(-n // len(train)))])[:n]
    kept, began = [], time.process_time()
    n_iter = setting.updates // PER_EPOCH
    rbm = RBM(
        setting.n_hidden, visible=visible, gradient=gradient, n_chains=BATCH, batch_size=BATCH, n_iter=n_iter,
        learning_rate=setting.rate, schedule=fall, momentum=0.0, weight_decay=setting.decay, centered=True,
        components=[snapshots(kept)], random_state=seed,
    ).fit(SubsetSource(ArraySource(train), drawn))  # fmt: skip
    seconds = time.process_time() - began
    ends = [min(len(kept), max(1, round(share * n_iter))) for share in STATES]
    last = {
        name: rbm.history_[-1][name]
        for name in ("n_rungs", "rejections", "unmet", "sweeps", "log_z")
        if name in rbm.history_[-1]
    }
    return [kept[end - 1] for end in ends], last, seconds


def judge(weights, valid):
    """Return log Z, or an estimate of it, and the validation log-likelihood at the low end."""
    found = log_likelihood(weights, valid, betas=2000)
    return found.log_z, found.low


def others(weights, rows):
    """Return the means of rows by annealing back from rows and, for machines of up to `LADDER` weights, by a ladder."""
    start = np.random.default_rng(0).permutation(len(rows))[:100]
    reverse = reverse_ais_log_z(weights, rows[start], betas=2000)
    found = {"reverse": log_likelihood(weights, rows, log_z=reverse).mean}
    if weights.W.size <= LADDER:
        ladder = ladder_log_z(weights)
        found |= {"ladder": log_likelihood(weights, rows, log_z=ladder).mean, "met": ladder.met}
        found["ladder_interval"] = ladder.high - ladder.low
    return found


def run(parts, visible, gradient, setting, seed):
    """Train one RBM and return its result on validation and test rows."""
    train, valid, test = parts
    if gradient == "recipe":
        return by_recipe(parts, visible, setting, seed)
    found, last, seconds = fit(train, visible, gradient, setting, seed)
    judged = [(*judge(weights, valid), weights, share) for weights, share in zip(found, STATES, strict=True)]
    log_z, score, weights, share = max(judged, key=lambda each: each[1])
    own = log_likelihood(weights, test, log_z=log_z)
    result = {
        "valid": score,
        "test": own.low,
        "high": own.high,
        "state": share,
        "seconds": seconds,
        "seed": seed,
    }
    result |= {
        "standard_error_over_rows": own.standard_error,
        "states": [each[1] for each in judged],
        "method": own.method,
    }
    if own.method != "exact":
        result |= others(weights, test)
    elif "log_z" in last and share == STATES[-1]:
        result["error_of_ladder"] = last["log_z"] - log_z
    return result | last


def known(name, arm=None):
    """Return the results of a set, or of one of its arms, so far."""
    path = HERE / "binary_sets.json"
    found = json.loads(path.read_text()).get(name, {}) if path.exists() else {}
    return found if arm is None else found.get(arm, {"runs": []})


def run_arm(name, arm, parts, visible, n_seeds):
    """Try all settings of an arm, and repeat the best one."""
    gradient = arm.partition(",")[0]
    run_settings(
        name, arm, SETTINGS[name][arm], lambda setting, seed: run(parts, visible, gradient, setting, seed), n_seeds
    )


def run_settings(name, arm, settings, train, n_seeds):
    """Try all settings with seed 0 and the best one with further seeds, and write each run that is not there yet.

    ``train`` is a function of a setting and a seed that returns the result of a run as a dict.
    """

    def once(setting, seed):
        runs = known(name, arm)["runs"]
        for each in runs:
            if each["setting"] == asdict(setting) and each["seed"] == seed:
                return setting, each
        found = train(setting, seed)
        print(f"{name:12}{arm:16}{setting} {found}", flush=True)
        found = {"setting": asdict(setting), **found}
        add("binary_sets", name, arm, value={"runs": [*runs, found]})
        return setting, found

    best, first = max((once(setting, 0) for setting in settings), key=lambda each: each[1]["valid"])
    seeds = [first, *(once(best, seed)[1] for seed in range(1, n_seeds))]
    value = known(name, arm) | {"chosen": asdict(best), "test": float(np.mean([each["test"] for each in seeds]))}
    add("binary_sets", name, arm, value=value)
    print(f"{name:12}{arm:16} test {value['test']:.3f}", flush=True)


def by_recipe(parts, visible, setting, seed):
    """Train one RBM by the automatic settings for one-hot groups and return its result on validation and test rows."""
    train, valid, test = parts
    began = time.process_time()
    rbm = RBM(
        setting.n_hidden, visible=visible, learning_rate=setting.rate, random_state=seed,
        n_iter=max(1, round(setting.updates * 128 / len(train))), **{**DENSITY, "weight_decay": setting.decay},
    ).fit(train)  # fmt: skip
    seconds = time.process_time() - began
    log_z, score = judge(rbm.weights_, valid)
    own = log_likelihood(rbm, test, log_z=log_z)
    result = {"valid": score, "test": own.low, "high": own.high, "seconds": seconds, "seed": seed}
    result |= {"standard_error_over_rows": own.standard_error, "method": own.method}
    return result | ({} if own.method == "exact" else others(rbm.weights_, test))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--arms", nargs="+", help="names in SETTINGS; default: all")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeepBeliefWarning)
    for name in options.sets:
        parts = splits(name)
        groups = exclusive_groups(parts[0])
        for rows in parts:
            groups = groups.holding(rows)
        if "baselines" not in known(name):
            facts = {"n_groups": len(groups.groups), "n_single": len(groups.single)}
            add(
                "binary_sets",
                name,
                "baselines",
                value=facts | baselines(name, parts, groups),
            )
        encoded = [groups.encode(rows).astype(np.float32) for rows in parts]
        for arm in [arm for arm in SETTINGS[name] if options.arms is None or arm in options.arms]:
            run_arm(name, arm, encoded, groups.visible, options.seeds)


if __name__ == "__main__":
    main()
