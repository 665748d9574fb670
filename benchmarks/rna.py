"""An RNA family: likelihood of held-out sequences, and how close samples come to the family with sampling time.

    python benchmarks/rna.py [--updates 8000] [--hidden 100] [--chains 4000] [--sweeps 15000]

RF00379 (3,827 aligned sequences of 136 sites), `DEEPBELIEF_DATA` naming the folder that holds rna-rf00379/. Every
fifth sequence, sorted by name, is for validation. Training sequences are drawn by their weights, 1 / number of
sequences within 80 % identity, 500 for each update. Training is by centred PCD-2 at a rate that falls from 0.05 to 0.
Samples start from the model without connections. They are compared by Pearson's correlation of the two-site connected
correlations, over all pairs of sites and letters, with those of the weighted training sequences and of the validation
sequences, which are weighted among themselves. The ceiling is that of training against validation sequences; as many
training sequences drawn by weight as there are samples ("drawn") show what a perfect model reaches. "aats" are the
shares of sequences, and of samples, whose nearest neighbour is of the same kind (0.5 each for perfect samples). For
them, a sequence is kept with its weight as probability, so that similar sequences count as about one; "aats_ceiling" is
that of training against validation sequences. Nats are per site and sequence. Results are written to `rna.json`.

    python benchmarks/rna.py --split FOLDER
    adabmDCA train -d FOLDER/train.fasta -v FOLDER/valid.fasta -o DCA --alphabet rna \\
        --nchains 1000 --nsweeps 5 --lr 0.05
    python benchmarks/rna.py --peer "adabmDCA 1.0.0" DCA/chains.fasta

compares the chains of a Potts model that another package trained on the same split (`pip install adabmDCA==1.0.0` into
an environment of its own).
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from common import HERE, add

from deepbelief import RBM, load, save
from deepbelief.backends import get_backend
from deepbelief.diagnostics.mixing import nearest_of_own_kind
from deepbelief.errors import DeepBeliefWarning
from deepbelief.evaluation.families import site_statistics
from deepbelief.likelihood import log_likelihood
from deepbelief.machine import Machine
from deepbelief.sampling import first_states
from deepbelief.sources import ArraySource, SubsetSource, read_alignment, sequence_weights

BATCH = 500
PER_EPOCH = 100  # updates
SWEEPS = (100, 400, 1000, 1500, *range(2000, 15_001, 1000))
TEMPERED = (100, 400)


def split():
    """Return training and validation sequences as 0/1 columns, and the numbers of letters of the sites."""
    found = read_alignment(Path(os.environ["DEEPBELIEF_DATA"]) / "rna-rf00379" / "RF00379.fasta")
    rows = found.one_hot()[np.argsort(found.names, kind="stable")]
    held = np.arange(len(rows)) % 5 == 0
    return rows[~held], rows[held], (len(found.alphabet),) * found.codes.shape[1]


def fitted(train, weights, groups, options):
    """Return the trained RBM and its processor seconds."""
    began = time.process_time()
    rng = np.random.default_rng(options.seed)
    drawn = rng.choice(len(train), BATCH * PER_EPOCH, p=weights / weights.sum())
    rbm = RBM(
        options.hidden, visible="softmax:" + ",".join(map(str, groups)), gradient="pcd", gibbs_steps=2, n_chains=BATCH,
        batch_size=BATCH, n_iter=options.updates // PER_EPOCH, learning_rate=0.05, schedule="linear", momentum=0.0,
        centered=True, weight_decay=1e-3, random_state=options.seed,
    ).fit(SubsetSource(ArraySource(train.astype(np.float32)), drawn))  # fmt: skip
    return rbm, time.process_time() - began


def letters(rbm, h, rng):
    """Return visible states drawn given hidden ones."""
    machine = Machine(rbm.weights_, get_backend("numpy"))
    return machine.sample_visible(h, rng, np.empty((len(h), rbm.weights_.n_visible), machine.dtype))


def plain(rbm, n, sweeps, seed, state):
    """Yield numbers of Gibbs steps from the model without connections, and the samples after them.

    The chains are kept in a file between two of these numbers, so that a later run goes on from there.
    """
    bk = get_backend("numpy")
    machine = Machine(rbm.weights_, bk)
    path, done = state / "chains.npz", 0
    v = np.empty((n, rbm.weights_.n_visible), np.float32)
    if path.exists():
        with np.load(path) as file:
            h, done = file["h"], int(file["done"])
    else:
        h = first_states(rbm.weights_, n, bk, bk.rng(np.random.SeedSequence(seed)))
    for steps in [each for each in sweeps if each > done]:
        rng = bk.rng(np.random.SeedSequence([seed, done]))
        for _ in range(steps - done):
            machine.sample_visible(h, rng, v)
            machine.sample_hidden(v, rng, h)
        done = steps
        np.savez(path, h=h, done=done)
        yield steps, v


def drawn_from(means, groups, seed):
    """Return one-hot letters drawn by the means of softmax units."""
    p = means.reshape(len(means), len(groups), -1).astype(float)
    u = np.random.default_rng(seed).random((*p.shape[:2], 1)) * p.sum(axis=2, keepdims=True)
    return np.eye(p.shape[2])[np.minimum((p.cumsum(axis=2) <= u).sum(axis=2), p.shape[2] - 1)].reshape(means.shape)


def thinned(rows, weights):
    """Return the rows that remain if each is kept with its weight, at most 1, as probability, in random order."""
    rng = np.random.default_rng(0)
    return rng.permutation(rows[rng.random(len(rows)) < weights]).astype(float)


def write_split(folder):
    """Write training and validation sequences as FASTA."""
    found = read_alignment(Path(os.environ["DEEPBELIEF_DATA"]) / "rna-rf00379" / "RF00379.fasta")
    letters_of = np.array(list(found.alphabet))[found.codes]
    order = np.argsort(found.names, kind="stable")
    folder.mkdir(exist_ok=True)
    for part, held in (("train", False), ("valid", True)):
        some = order[(np.arange(len(order)) % 5 == 0) == held]
        text = "".join(f">{found.names[i]}\n{''.join(letters_of[i])}\n" for i in some)
        (folder / f"{part}.fasta").write_text(text)


def compare_peer(name, path, family, held, train, valid, groups, weights):
    """Compare sequences that another package sampled, and as many training sequences drawn by weight."""
    rows = read_alignment(path, "-ACGU").one_hot()
    drawn = train[np.random.default_rng(0).choice(len(train), len(rows), p=weights / weights.sum())]
    row = {"chains": len(rows)}
    for words, each in (("samples", rows), ("drawn", drawn)):
        found = site_statistics(each, groups)
        near = nearest_of_own_kind(valid.astype(float), each.astype(float))
        row[words] = {"train": found.agreement(family)[1], "valid": found.agreement(held)[1], "nearest": near}
    print(name, row, flush=True)
    add("rna", name, value=known(name) | row)


def known(name):
    """Return what an earlier run found."""
    path = HERE / "rna.json"
    return json.loads(path.read_text()).get(name, {}) if path.exists() else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=8000)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--chains", type=int, default=4000)
    parser.add_argument("--sweeps", type=int, default=SWEEPS[-1])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", help="folder of the model and its chains, from which a later run goes on")
    parser.add_argument(
        "--parts", nargs="+", choices=("gibbs", "likelihood", "pt"), default=["gibbs", "likelihood", "pt"]
    )
    parser.add_argument("--split", type=Path, help="folder for the sequences as FASTA; nothing else is done")
    parser.add_argument("--peer", nargs=2, metavar=("NAME", "FASTA"), help="compare samples of another package")
    options = parser.parse_args()
    if options.split:
        write_split(options.split)
        return
    warnings.simplefilter("ignore", DeepBeliefWarning)
    train, valid, groups = split()
    weights, among = sequence_weights(train), sequence_weights(valid)
    family, held = site_statistics(train, groups, weights), site_statistics(valid, groups, among)
    if options.peer:
        compare_peer(*options.peer, family, held, train, valid, groups, weights)
        return
    name = f"{options.hidden} hidden, {options.updates} updates, seed {options.seed}"
    facts = {"train": len(train), "valid": len(valid), "effective": float(weights.sum())}
    facts["ceiling"], facts["chains"] = family.agreement(held)[1], options.chains
    kept = {"train": thinned(train, weights), "valid": thinned(valid, among)}
    facts["kept"] = {part: len(rows) for part, rows in kept.items()}
    facts["aats_ceiling"] = nearest_of_own_kind(kept["train"], kept["valid"])
    drawn = np.random.default_rng(options.seed).choice(len(train), options.chains, p=weights / weights.sum())
    perfect = site_statistics(train[drawn], groups)
    facts["drawn"] = {"train": perfect.agreement(family)[1], "valid": perfect.agreement(held)[1]}
    print(facts, flush=True)
    state = Path(options.state or tempfile.mkdtemp())
    state.mkdir(exist_ok=True)
    facts |= {key: value for key, value in known(name).items() if key not in facts}
    if not (state / "model.h5").exists():
        rbm, facts["seconds"] = fitted(train, weights, groups, options)
        save(rbm, state / "model.h5")
    rbm = load(state / "model.h5")
    print(f"trained: {facts['seconds']:.0f} s", flush=True)
    add("rna", name, value=facts)

    def compare(method, steps, states, began):
        found = site_statistics(states, groups)
        row = {"train": found.agreement(family)[1], "valid": found.agreement(held)[1]}
        row |= {"sites": found.agreement(family)[0], "seconds": time.process_time() - began}
        row["aats"] = {part: nearest_of_own_kind(rows, states.astype(float)) for part, rows in kept.items()}
        facts.setdefault(method, {})[str(steps)] = row
        print(method, steps, row, flush=True)
        add("rna", name, value=facts)

    began = time.process_time()
    sweeps = [n for n in SWEEPS if n <= options.sweeps] if "gibbs" in options.parts else []
    for steps, states in plain(rbm, options.chains, sweeps, options.seed, state):
        compare("gibbs", steps, states, began)
    for method, settings in (("ais", {"betas": 2000}), ("ptt", {})) if "likelihood" in options.parts else ():
        found = log_likelihood(rbm, valid.astype(np.float32), method=method, **settings)
        by_weight = float((found.rows * among).sum() / among.sum()) / len(groups)
        facts[method] = {"nats": found.mean / len(groups), "low": found.low / len(groups), "by_weight": by_weight}
        print(method, facts[method], flush=True)
        add("rna", name, value=facts)

    for steps in TEMPERED if "pt" in options.parts else ():
        began = time.process_time()
        means = rbm.sample(options.chains, n_steps=steps, method="pt", random_state=options.seed)
        compare("pt", steps, drawn_from(means, groups, options.seed), began)


if __name__ == "__main__":
    main()
