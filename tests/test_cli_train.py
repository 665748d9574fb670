"""`pretrain` and `finetune`: what they train is what Python trains, and what they were told is kept."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from cli_runs import TINY, bad, good, put_model, run, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, hdf5, load


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(n=200):
    return (load_digits().data[:n] / 16).astype(np.float32)


def same_stack(a, b):
    return a.sizes == b.sizes and all(
        np.array_equal(getattr(u, name), getattr(v, name))
        for u, v in zip(a, b, strict=True)
        for name in ("W", "vbias", "hbias")
    )


def test_pretrain_trains_what_python_trains():
    good("pretrain", *TINY, "--gradient", "pcd", "--gibbs-steps", 2, "--passes", 2, "--momentum", 0.7,
         "--weight-decay", 0.001, "--sparsity-target", 0.1, "--schedule", "cosine", "--batch-size", 17,
         "--learning-rate", 0.03, "--validation-fraction", 0.1)  # fmt: skip
    rbm = RBM(n_iter=2, gradient="pcd", gibbs_steps=2, momentum=0.7, weight_decay=0.001, sparsity_target=0.1,
              schedule="cosine", batch_size=17, learning_rate=0.03, validation_fraction=0.1)  # fmt: skip
    expected = DBN((12, 8), rbm=rbm, n_passes=2, random_state=1).fit(rows())
    assert same_stack(load("digits.h5").stack_, expected.stack_)


def test_pretrain_trains_for_likelihood():
    good("pretrain", *TINY, "--gradient", "pt", "--gibbs-steps", "1-3", "--chains", 7, "--centered", "--binarize",
         "resample", "--averaging", 0.5, "--l1", 1e-3)  # fmt: skip
    rbm = RBM(n_iter=2, gradient="pt", gibbs_steps=(1, 3), n_chains=7, centered=True, binarize="resample",
              averaging=0.5, l1=1e-3)  # fmt: skip
    expected = DBN((12, 8), rbm=rbm, random_state=1).fit(rows())
    found = load("digits.h5")
    assert same_stack(found.stack_, expected.stack_)
    assert (found.rbm.binarize, found.rbm.gibbs_steps) == ("resample", (1, 3))


@case_by_case("steps", ["x", "1-2-3", "1-", "2.5"])
def test_gibbs_steps_are_a_number_or_a_range(steps):
    result = run("pretrain", *TINY, "--gibbs-steps", steps)
    assert result.exit_code == 2
    assert "range such as 1-25" in result.stderr


def test_variances_can_be_learned():
    good("pretrain", *TINY, "--visible", "gaussian", "--learn-variance")
    expected = DBN((12, 8), rbm=RBM(n_iter=2, visible="gaussian", learn_variance=True), random_state=1).fit(rows())
    found = load("digits.h5").stack_
    assert same_stack(found, expected.stack_)
    np.testing.assert_array_equal(found.layers[0].scale, expected.stack_.layers[0].scale)


def test_hidden_and_visible_reach_the_machines():
    good("pretrain", *TINY, "--hidden", "rectified", "--visible", "gaussian")
    first, second = load("digits.h5").stack_
    assert (first.visible, first.hidden, second.hidden) == ("gaussian", "rectified", "rectified")


def test_the_summary_tells_where_and_what_next():
    out = good("pretrain", *TINY, "--out", "my model.h5").stdout
    assert "my model.h5" in out
    assert "64 -> 12 -> 8" in out
    assert out.splitlines()[-1] == "next    deepbelief finetune 'my model.h5'"


def test_without_labels_the_next_command_is_encode():
    np.save("rows.npy", rows())
    assert "deepbelief encode rows.h5" in good("pretrain", "rows.npy", *TINY[3:]).stdout


def test_the_printed_seed_repeats_the_run():
    out = good("pretrain", *TINY[:-2]).stdout
    seed = re.search(r"^seed +(\d+)$", out, re.MULTILINE)[1]
    good("pretrain", *TINY[:-2], "--seed", seed, "--out", "again.h5")
    good("pretrain", *TINY[:-2], "--out", "other.h5")
    first, again, other = (load(name).stack_ for name in ("digits.h5", "again.h5", "other.h5"))
    assert same_stack(first, again)
    assert not same_stack(first, other)
    assert hdf5.read("digits.h5").metadata["seed"] == int(seed)


def test_scaling_and_origin_are_kept(tmp_path):
    np.save("rows.npy", load_digits().data[:100] * 3 - 5)
    good("pretrain", "rows.npy", "--scale", "minmax", "--layers", 4, "--epochs", 1)
    metadata = hdf5.read("rows.h5").metadata
    assert metadata["scale"] == load("rows.h5").rbm.scale == "minmax"
    assert metadata["data"]["source"] == str(tmp_path / "rows.npy")
    assert load("rows.h5").stack_.layers[0].visible == "bernoulli"


def test_labels_are_left_out_of_the_features_and_found_again(tmp_path, monkeypatch):
    table = np.column_stack([rows(), load_digits().target[:200]])
    np.savetxt("table.csv", table, "%.3f", ",", header=",".join([*(f"p{i}" for i in range(64)), "digit"]), comments="")
    good("pretrain", "table.csv", "--labels", "digit", *TINY[3:])
    assert load("table.h5").n_features_in_ == 64
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    good("finetune", "../table.h5", "--epochs", 1)
    assert load("table-tuned.h5").classes_.tolist() == list(range(10))
    assert load("table-tuned.h5").classes_.dtype.kind == "i"


def test_a_file_of_labels_is_found_again_from_elsewhere(tmp_path, monkeypatch):
    np.save("rows.npy", rows())
    np.save("y.npy", load_digits().target[:200])
    good("pretrain", "rows.npy", "--labels", "y.npy", *TINY[3:])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    good("finetune", "../rows.h5", "--epochs", 1)


def test_finetune_trains_what_python_trains(tmp_path):
    dbn = put_model(tmp_path, "dbn")
    out = good("finetune", dbn, "--epochs", 3, "--learning-rate", 0.05, "--batch-size", 25, "--alpha", 0.001,
               "--activation", "tanh", "--early-stopping", "--seed", 5).stdout  # fmt: skip
    expected = DBNClassifier(pretrained=load(dbn), max_iter=3, learning_rate_init=0.05, batch_size=25, alpha=0.001,
                             activation="tanh", early_stopping=True, random_state=5)  # fmt: skip
    expected.fit(rows(), load_digits().target[:200])
    tuned = load("dbn-tuned.h5")
    assert np.array_equal(tuned.predict_proba(rows()), expected.predict_proba(rows()))
    best = 1 - max(r["validation_score"] for r in expected.history_)
    assert f"{100 * best:.2f} % on held-out rows" in out
    assert out.splitlines()[-1].split(maxsplit=1)[1] == "deepbelief evaluate dbn-tuned.h5"


def test_finetune_goes_on_with_a_classifier(tmp_path):
    path = put_model(tmp_path, "classifier")
    good("finetune", path, "--epochs", 2)
    tuned = load("classifier-tuned.h5")
    expected = load(path).set_params(max_iter=2, warm_start=True).fit(rows(), load_digits().target[:200])
    assert tuned.n_iter_ == 5
    assert np.array_equal(tuned.predict_proba(rows()), expected.predict_proba(rows()))
    assert tuned.warm_start is False


def test_going_on_tells_of_this_run_only():
    good("pretrain", "digits", "--limit", 300, "--layers", 40, "--epochs", 10, "--seed", 1)
    good("finetune", "digits.h5", "--epochs", 20, "--early-stopping", "--seed", 3)
    np.savez("wrong.npz", X=rows(300), y=np.roll(load_digits().target[:300], 1))
    out = good("finetune", "digits-tuned.h5", "wrong.npz", "--labels", "y", "--epochs", 1).stdout
    scores = [r["validation_score"] for r in load("digits-tuned2.h5").history_]
    assert scores[-1] < max(scores)
    assert f"{100 * (1 - scores[-1]):.2f} % on held-out rows" in out


def test_finetuned_files_get_a_new_name_each_time(tmp_path):
    put_model(tmp_path, "dbn").rename("a-tuned.h5")
    good("finetune", "a-tuned.h5", "--epochs", 1)
    good("finetune", "a-tuned2.h5", "--epochs", 1)
    assert load("a-tuned3.h5").n_iter_ == 2


def test_a_classifier_does_not_take_other_classes(tmp_path):
    path = put_model(tmp_path, "classifier")
    np.savez("shifted.npz", X=rows(), y=load_digits().target[:200] + 1)
    assert "classes" in bad("finetune", path, "shifted.npz", "--labels", "y")
    assert "--seed" in bad("finetune", path, "--seed", 3)
    assert "--activation" in bad("finetune", path, "--activation", "tanh")


def test_finetune_remembers_the_data_of_both_stages(tmp_path):
    path = put_model(tmp_path, "dbn")
    np.savez("more.npz", X=rows(50), y=load_digits().target[:50])
    good("finetune", path, "more.npz", "--labels", "y", "--epochs", 1)
    metadata = hdf5.read("dbn-tuned.h5").metadata
    assert metadata["data"] == {"source": str(tmp_path / "more.npz"), "name": "more", "rows": 50, "labels": "y"}
    assert metadata["pretraining"]["data"]["source"] == "digits"


def test_log_has_one_line_per_epoch():
    good("pretrain", *TINY, "--passes", 2, "--validation-fraction", 0.2, "--log", "log.jsonl")
    records = [json.loads(line, parse_constant=pytest.fail) for line in Path("log.jsonl").read_text().splitlines()]
    assert [(r["pass"], r["layer"], r["epoch"]) for r in records] == [
        (1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 2, 2), (2, 1, 3), (2, 1, 4), (2, 2, 3), (2, 2, 4)
    ]  # fmt: skip
    history = load("digits.h5").history_
    assert [r["reconstruction_error"] for r in records] == [r["reconstruction_error"] for r in history]
    assert all(r["free_energy_gap"] is not None for r in records)


def test_plain_progress_is_one_line_per_epoch_on_stderr():
    result = good("pretrain", *TINY)
    lines = [line for line in result.stderr.splitlines() if "epoch" in line]
    assert [re.search(r"layer \d/2.*epoch \d/2", line)[0] for line in lines] == [
        "layer 1/2, 64 -> 12: epoch 1/2", "layer 1/2, 64 -> 12: epoch 2/2",
        "layer 2/2, 12 -> 8: epoch 1/2", "layer 2/2, 12 -> 8: epoch 2/2",
    ]  # fmt: skip
    assert all("left" in line and "error" in line for line in lines)
    assert "epoch" not in result.stdout


def test_long_runs_print_a_handful_of_lines():
    result = good("pretrain", "digits", "--limit", 30, "--layers", 4, "--epochs", 200)
    lines = [line for line in result.stderr.splitlines() if "epoch" in line]
    assert 5 <= len(lines) <= 15
    assert "epoch 1/200" in lines[0]
    assert "epoch 200/200" in lines[-1]


def test_passes_are_counted_from_one_in_each():
    result = good("pretrain", *TINY, "--passes", 2)
    last = [line for line in result.stderr.splitlines() if "epoch" in line][-1]
    assert "pass 2/2, layer 2/2" in last
    assert "epoch 2/2" in last
    assert "0.0 s left" in last


def test_quiet_is_quiet():
    result = good("pretrain", *TINY, "--quiet")
    assert result.stderr == ""
    assert "digits.h5" in result.stdout


def test_sizing_advice_is_one_line():
    result = good("pretrain", "digits28", "--limit", 40, "--layers", "30,20", "--epochs", 1)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert "layer 1 with 30 units" in line


def test_an_existing_file_is_refused_and_forced():
    good("pretrain", *TINY)
    before = Path("digits.h5").read_bytes()
    assert "--force" in bad("pretrain", *TINY)
    assert Path("digits.h5").read_bytes() == before
    good("pretrain", *TINY, "--seed", 9, "--force")
    assert Path("digits.h5").read_bytes() != before
    Path("log").write_text("precious")
    assert "--force" in bad("pretrain", *TINY, "--out", "new.h5", "--log", "log")
    assert Path("log").read_bytes() == b"precious"


def test_the_data_are_never_overwritten(tmp_path):
    import h5py

    with h5py.File("digits.h5", "w") as file:
        file["X"] = rows()
    before = snapshot(tmp_path)
    assert "is an input file" in bad("pretrain", "digits.h5", "--out", "digits.h5", "--force")
    assert "is an input file" in bad("pretrain", "digits.h5:/X", "--out", "digits.h5", "--force")
    assert "is an input file" in bad("pretrain", "digits.h5:/X", "--log", "digits.h5", "--force")
    assert snapshot(tmp_path) == before
    good("pretrain", "digits.h5", *TINY[3:], "--force")
    assert set(snapshot(tmp_path)) == {"digits.h5", "digits-dbn.h5"}


CONFIG = """
data = "digits"
layers = [12, 8]
epochs = 2
learning-rate = 0.02
batch_size = "auto"
seed = 3
limit = 200
quiet = true
"""


def test_config_is_overridden_by_the_command_line():
    Path("run.toml").write_text(CONFIG)
    result = good("pretrain", "--config", "run.toml", "--seed", 4)
    assert result.stderr == ""
    dbn = load("digits.h5")
    assert dbn.stack_.sizes == (64, 12, 8)
    assert (dbn.random_state, dbn.rbm.n_iter, dbn.rbm.learning_rate, dbn.rbm.batch_size) == (4, 2, 0.02, "auto")
    assert dbn.rbm.gradient == "auto"


def test_config_as_json():
    Path("run.json").write_text(json.dumps({"layers": "6", "epochs": 1, "limit": 50, "gradient": "pcd"}))
    good("pretrain", "digits", "--config", "run.json", "--layers", "5")
    assert load("digits.h5").stack_.sizes == (64, 5)
    assert load("digits.h5").rbm.gradient == "pcd"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "did you mean 'epochs'?"),
        ("learning_rat = 3", "did you mean 'learning-rate'?"),
        ("batch-size = 10\nbatch_size = 20", "batch-size occurs twice"),
        ("config = 'x'", "unknown key 'config'"),
        ("epochs = ", "not valid TOML"),
        ("quiet = 'yes'", "must be true or false"),
        ("epochs = true", "must be a text or a number"),
        ("layers = [5.5]", "must be a list of integers"),
        ("epochs = [1]", "must be a text or a number"),
        ("[pretrain]\nepochs = 3", "unknown key 'pretrain'"),
        ("seed = 2020-01-01", "must be a text or a number"),
    ],
)
def test_bad_config_is_one_line(tmp_path, text, message):
    Path("run.toml").write_text(text)
    assert message in bad("pretrain", "digits", "--config", "run.toml")
    assert set(snapshot(tmp_path)) == {"run.toml"}


@pytest.mark.parametrize("text", ["seed = 1.5", "epochs = 'ten'", "layers = 'wide'"])
def test_config_values_are_checked_like_options(text):
    Path("run.toml").write_text(text)
    assert run("pretrain", "digits", "--config", "run.toml").exit_code == 2


def test_missing_config():
    assert bad("pretrain", "--config", "none.toml") == "none.toml: No such file or directory"
    Path("run.json").write_text("[1]")
    assert "not a list" in bad("pretrain", "--config", "run.json")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=6))
def test_layers_parse_as_they_are_written(sizes):
    from deepbelief.cli._types import Layers

    for text in (",".join(map(str, sizes)), ", ".join(map(str, sizes)), sizes):
        assert Layers().convert(text, None, None) == tuple(sizes)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=12))
def test_any_layers_end_in_a_line_or_a_usage_error(text):
    result = run("pretrain", "nosuch.npy", f"--layers={text}", "--out", "never.h5")
    assert result.exit_code in (1, 2)
    assert "Error: " in result.stderr


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from(["epochs", "seed", "limit", "passes"]), st.integers(1, 9), min_size=1), st.data()
)
def test_the_command_line_beats_the_config(tmp_path, values, data):
    import click

    from deepbelief.cli import cli

    typed = {k: data.draw(st.integers(10, 19)) for k in data.draw(st.sets(st.sampled_from(sorted(values))))}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(values))
    args = ["--config", str(path), *(f"--{k}={v}" for k, v in typed.items())]
    if data.draw(st.booleans()):
        args.reverse()
        args = [a for a in args if a not in ("--config", str(path))] + ["--config", str(path)]
    command = cli.get_command(click.Context(cli), "pretrain")
    params = command.make_context("pretrain", args).params
    names = {"epochs": "n_iter", "passes": "n_passes"}
    assert {k: params[names.get(k, k)] for k in values} == {**values, **typed}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_as_config_is_refused():
    os.mkfifo("run.toml")
    assert "is a named pipe" in bad("pretrain", "digits", "--config", "run.toml")
