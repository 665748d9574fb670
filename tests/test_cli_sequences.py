"""Models of sequences in the shell: lengths from keys and files, training, evaluation, samples and their picture."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_runs import bad, good, put_model
from matplotlib.image import imread
from tables import case_by_case

from deepbelief import RecurrentRBM, evaluate, load
from deepbelief.plotting import plot_sequence

LENGTHS = [9, 4, 12, 5]
ROWS = np.tile(np.eye(4, dtype=np.uint8), (8, 1))[:30]
SHORT = ("--recurrent", "--epochs", 2, "--pretrain-frames", 1, "--layers", 5, "--recurrent-units", 4, "--seed", 3)


@pytest.fixture(autouse=True)
def songs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    np.savez("songs.npz", roll=ROWS, offsets=offsets, lengths=LENGTHS, wrong=[0, 9, 31], halves=[15.0, 15.0])
    np.save("lengths.npy", np.array(LENGTHS))
    Path("lengths.csv").write_text("\n".join(map(str, LENGTHS)) + "\n")
    with h5py.File("songs.h5", "w") as file:
        file["roll"], file["lengths"] = ROWS, LENGTHS
    return tmp_path


def train(*more, data="songs.npz:roll", out="m.h5"):
    return good("pretrain", data, *SHORT, "--out", out, "--force", *more)


@case_by_case(("data", "lengths"), [
    ("songs.npz:roll", "offsets"), ("songs.npz:roll", "lengths"), ("songs.npz:roll", "lengths.npy"),
    ("songs.npz:roll", "lengths.csv"), ("songs.npz:roll", "songs.npz:offsets"), ("songs.h5:roll", "lengths"),
])  # fmt: skip
def test_lengths_come_from_a_key_or_a_file_as_lengths_or_as_offsets(data, lengths):
    told = train("--lengths", lengths, data=data)
    assert "4 sequences, 30 frames" in told.stdout
    expected = RecurrentRBM(5, 4, n_iter=2, pretrain_frames=1, random_state=3).fit(ROWS, lengths=LENGTHS)
    np.testing.assert_array_equal(load("m.h5").transform(ROWS, LENGTHS), expected.transform(ROWS, LENGTHS))


def test_without_lengths_all_rows_are_one_sequence():
    told = train()
    assert "1 sequences, 30 frames" in told.stdout
    lines = told.stderr.splitlines()
    assert lines[0] == "songs: 1 sequences, 30 frames, not scaled; 4 -> 5, 4 recurrent units (tanh)"
    assert lines[-1].startswith("sequences, 4 -> 5: epoch 2/2, error ")


def test_evaluate_tells_likelihood_and_accuracy_of_the_sequences_asked_for():
    train("--lengths", "offsets", "--sequences", "0:3")
    rnn = load("m.h5")
    own = json.loads(good("evaluate", "m.h5", "--json").stdout)
    assert (own["sequences"], own["frames"]) == (3, 25)
    assert own["log_likelihood"] == pytest.approx(rnn.log_likelihood(ROWS[:25], LENGTHS[:3]).mean)
    held = json.loads(good("evaluate", "m.h5", "songs.npz:roll", "--sequences", "3:", "--json").stdout)
    assert (held["sequences"], held["frames"]) == (1, 5)
    assert held["log_likelihood"] == pytest.approx(rnn.log_likelihood(ROWS[25:]).mean)
    p, seen = rnn.predict_next(ROWS[25:])[:-1], ROWS[26:]
    hits = (p * seen).sum()
    assert held["accuracy"] == pytest.approx(hits / (p.sum() + seen.sum() - hits), rel=1e-6)
    shown = good("evaluate", "m.h5").stdout
    assert "nats per frame" in shown
    assert "exact, over the states of 5 hidden units" in shown


def test_samples_are_the_models_and_a_picture_has_time_from_left_to_right():
    train("--lengths", "offsets")
    told = good("sample", "m.h5", "--n", 7, "--seed", 1, "--out", "s.npy").stdout
    assert told == "s.npy: 7 rows, 4 features, 50 Gibbs steps, seed 1\n"
    np.testing.assert_array_equal(np.load("s.npy"), load("m.h5").sample(7, random_state=1))
    good("sample", "m.h5", "--n", 7, "--seed", 1, "--out", "s.png")
    assert imread("s.png").ndim == 3
    image = plot_sequence(np.load("s.npy")).images[0].get_array()
    np.testing.assert_array_equal(image, np.load("s.npy").T[::-1])


@case_by_case(("more", "match"), [
    (("--lengths", "offset"), "no array 'offset'; available: roll, offsets"),
    (("--lengths", "wrong"), "offsets end at 31, but there are 30 rows"),
    (("--lengths", "halves"), "lengths are integers"),
    (("--lengths", "nowhere.npy"), "nowhere"),
    (("--sequences", "0:2"), "needs --lengths"),
    (("--lengths", "offsets", "--sequences", "2:9"), "LAST <= 4"),
    (("--lengths", "offsets", "--sequences", "x"), "FIRST:LAST"),
    (("--lengths", "offsets", "--limit", 9), "--sequences FIRST:LAST"),
    (("--centered",), "--centered is not for models of sequences"),
    (("--memory-limit", "1GiB"), "--memory-limit is not for models of sequences"),
    (("--passes", 2), "--passes is not for models of sequences"),
    (("--autoencoder",), "--autoencoder is not for models of sequences"),
    (("--truncation", 0), "--truncation must be an integer >= 1"),
    (("--cell", "gur"), "did you mean 'gru'"),
    (("--layers", "5,4"), "one layer of hidden units"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(more, match):
    assert match in bad("pretrain", "songs.npz:roll", *SHORT, *more, "--out", "x.h5")
    assert not Path("x.h5").exists()


def test_options_and_commands_of_other_models(tmp_path):
    assert "--lengths is for models of sequences: add --recurrent" in bad("pretrain", "digits", "--lengths", "x")
    assert "--identity is not for models of sequences" in bad("pretrain", "digits", "--recurrent", "--identity", "0.8")
    assert "--recurrent-units is for" in bad("pretrain", "digits", "--recurrent-units", 3)
    train()
    for command in ("encode", "finetune", "predict"):
        assert "m.h5 holds a model of sequences" in bad(command, "m.h5", "songs.npz:roll")
    assert "--method is for models of rows" in bad("sample", "m.h5", "--method", "pt")
    assert "RecurrentRBM" in good("info", "m.h5").stdout
    other = put_model(tmp_path, "dbn")
    assert "for models of sequences" in bad("evaluate", other, "--lengths", "offsets")


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
def test_the_report_of_a_model_of_sequences_has_its_likelihood_curves_rolls_and_weights():
    train("--lengths", "offsets", "--early-stopping")
    good("report", "m.h5")
    page = Path("m-report.html").read_text()
    for title in ("Quality", "Receptive fields", "Samples", "Learning curves", "Weights", "Settings"):
        assert f">{title}</h2>" in page
    assert "Not drawn" not in page
    assert "Not measured" not in page
    rnn = load("m.h5")
    for name, value in evaluate(rnn, ROWS, lengths=LENGTHS).facts():
        assert f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' in page
    n = 4 * 5 + 4 + 5 + sum(a.size for a in rnn.machine_.arrays().values())
    assert f"4 -&gt; 5, {n} parameters" in page
    assert re.findall(r"Drawn from the model, seed (\d)", page)[::2] == ["0", "1"]  # caption and text
    assert f"auto: {rnn.resolved_['batch_size'].value}" in page
    for name in ("Wuv: from states", "Wuu: from states to the next", "Sequence 2 of the data", "4 tanh units"):
        assert name in page
    if rnn.history_[-1].get("validation_log_likelihood") is not None:
        assert "held-out data" in page.lower()
    good("report", "m.h5", "songs.npz:roll", "--sequences", "3:", "--lengths", "offsets", "--out", "p.html")
    assert "Measured on 1 sequences" in Path("p.html").read_text()
    Path("songs.npz").unlink()
    good("report", "m.h5", "--force")
    page = Path("m-report.html").read_text()
    assert "Not measured: no such file" in page
    assert "seed 3" in page
    other = put_model(Path.cwd(), "dbn")
    assert "for models of sequences" in bad("report", other, "--lengths", "offsets")
