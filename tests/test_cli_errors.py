"""Bad input from the shell: one line on stderr, exit code 1, and no file changed."""

import ast
import contextlib
import gzip
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
from cli_runs import COMMAND, ENVIRONMENT, TINY, bad, good, model_bytes, process, put_model, run, snapshot
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from tables import case_by_case

import deepbelief
from deepbelief import DBN, RBM, load, save
from deepbelief.bounds import Bounds
from deepbelief.cli import cli
from deepbelief.cli._errors import OTHER_NAMES, option_of
from deepbelief.cli._files import check_outputs
from deepbelief.cli._progress import LogReporter, PlainReporter
from deepbelief.cli._types import Bounded, ImageShape, Layers, Listed, Registered, Steps
from deepbelief.errors import MAX_MESSAGE, DataError, FileError, LogWarning, Mention, Message, SettingError
from deepbelief.hdf5.replacement import PROBE
from deepbelief.hyperparameters import FINE_TUNING, MACHINE, PRETRAINING, RECURRENT, Flag, Shares


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(n=60):
    return (load_digits().data[:n] / 16).astype(np.float32)


def with_value(value):
    X = rows()
    X[7, 3] = value
    return X


def cut(name, data, n):
    Path(name).write_bytes(data[:-n])


def text(name, content):
    Path(name).write_text(content)


def hostile_h5(name):
    """Make a small file that declares 400 GB."""
    with h5py.File(name, "w") as file:
        file.create_dataset("X", (10**8, 1000), "f4", chunks=(1, 1000))


def external_h5(name):
    Path("secret.bin").write_bytes(b"\0" * 400)
    with h5py.File(name, "w") as file:
        file.create_dataset("X", (10, 10), "f4", external=[("secret.bin", 0, 400)])


DATA = {
    "nan.npy": (lambda name: np.save(name, with_value(np.nan)), "row 7, column 3"),
    "inf.npy": (lambda name: np.save(name, with_value(np.inf)), "row 7, column 3"),
    "words.npy": (lambda name: np.save(name, np.array([["a", "b"], ["c", "d"]])), "real numbers"),
    "complex.npy": (lambda name: np.save(name, rows() + 1j), "real numbers"),
    "objects.npy": (lambda name: np.save(name, np.array([[{}, 1]], object)), "pickled"),
    "objects.npz": (lambda name: np.savez(name, X=np.array([[{}, 1]], object)), "pickled"),
    "pickle.npy": (lambda name: Path(name).write_bytes(pickle.dumps(rows())), "pickle.npy"),
    "empty.npy": (lambda name: np.save(name, np.zeros((0, 5))), "empty"),
    "no-columns.npy": (lambda name: np.save(name, np.zeros((5, 0))), "empty"),
    "vector.npy": (lambda name: np.save(name, np.zeros(5)), "table"),
    "single.npy": (lambda name: np.save(name, rows(1)), "minimum of 2"),
    "empty.csv": (lambda name: text(name, ""), "empty"),
    "cell.csv": (lambda name: text(name, "a,b\n1,2\n3,x\n"), "line 3, column 2"),
    "inf.csv": (lambda name: text(name, "a,b\n1,2\n3,inf\n"), "line 3, column 2"),
    "words.csv": (lambda name: text(name, "a,b\n1,red\n2,\n3,4\n"), "line 2, column 2 ('b'): 'red' is not a number"),
    "ragged.csv": (lambda name: text(name, "a,b\n1,2\n3\n"), "line 3"),
    "cut.csv.gz": (lambda name: cut(name, gzip.compress(b"1,2\n" * 1000 + os.urandom(999).hex().encode()), 20), "cut"),
    "cut.npy": (lambda name: cut(name, npy_bytes(), 100), "cut.npy"),
    "noise.h5": (lambda name: Path(name).write_bytes(os.urandom(3000)), "noise.h5"),
    "declares.h5": (hostile_h5, "declares"),
    "external.h5": (external_h5, "external"),
    "what.xyz": (lambda name: text(name, "1,2\n3,4\n"), "unknown kind of file"),
}  # fmt: skip


def npy_bytes():
    import io

    out = io.BytesIO()
    np.save(out, rows())
    return out.getvalue()


@case_by_case("name", DATA)
def test_bad_data_in_training(tmp_path, name):
    make, message = DATA[name]
    make(name)
    before = snapshot(tmp_path)
    line = bad("pretrain", name, "--layers", 4, "--epochs", 1, "--out", "model.h5", "--log", "log.jsonl")
    assert message in line
    assert snapshot(tmp_path) == before


@case_by_case("command", ["finetune", "evaluate", "predict", "encode"])
@case_by_case("value", [np.nan, -np.inf])
def test_values_that_are_not_finite_are_found_in_use(tmp_path, command, value):
    path = put_model(tmp_path, "classifier")
    np.savez("rows.npz", X=with_value(value), y=load_digits().target[:60])
    before = snapshot(tmp_path)
    assert "row 7, column 3" in bad(command, path, "rows.npz", "--labels", "y")
    assert snapshot(tmp_path) == before


@case_by_case("command", ["finetune", "evaluate", "predict", "encode"])
def test_another_number_of_features(tmp_path, command):
    path = put_model(tmp_path, "classifier")
    np.savez("rows.npz", X=rows()[:, :60], y=load_digits().target[:60])
    before = snapshot(tmp_path)
    line = bad(command, path, "rows.npz", "--labels", "y")
    assert "60 features" in line
    assert "64" in line
    assert snapshot(tmp_path) == before


def test_a_column_too_many_is_perhaps_that_of_the_labels(tmp_path):
    path = put_model(tmp_path, "classifier")
    np.save("rows.npy", np.column_stack([rows(), np.ones(60)]))
    assert "--labels" in bad("predict", path, "rows.npy")


LABELS = {
    "one class": (np.zeros(60, int), "2 classes"),
    "unlabelled": (np.full(60, -1), "1 class"),
    "too few": (np.arange(59) % 2, "59 labels"),
    "measurements": (np.linspace(0, 1, 60), "not a class"),
    "infinite": (np.where(np.arange(60) == 3, np.inf, 1.0), "label 3"),
}


@case_by_case("case", LABELS)
def test_bad_labels(tmp_path, case):
    y, message = LABELS[case]
    path = put_model(tmp_path, "dbn")
    np.savez("rows.npz", X=rows(), y=y)
    before = snapshot(tmp_path)
    assert message in bad("finetune", path, "rows.npz", "--labels", "y", "--log", "log")
    assert snapshot(tmp_path) == before


def test_labels_that_are_not_there(tmp_path):
    path = put_model(tmp_path, "dbn")
    np.savez("rows.npz", X=rows())
    assert "has no labels" in bad("finetune", path, "rows.npz")
    assert "'y'" in bad("finetune", path, "rows.npz", "--labels", "y").replace(" y;", " 'y';")
    assert "leave --labels" in bad("finetune", path, "digits", "--labels", "y")
    assert "cannot be compared" in bad(*evaluate_with(tmp_path, np.full(60, -1)))
    assert "label 77 is not one" in bad(*evaluate_with(tmp_path, np.full(60, 77)))


def evaluate_with(folder, y):
    np.savez("labelled.npz", X=rows(), y=y)
    return "evaluate", put_model(folder, "classifier"), "labelled.npz", "--labels", "y"


def test_missing_files(tmp_path):
    assert bad("pretrain", "nosuch.npy") == "no such file or folder: nosuch.npy; built-in sets are " + (
        "digits, digits28, mnist, fashion-mnist"
    )
    assert "did you mean digits28?" in bad("pretrain", "digit28")
    for command in ("finetune", "evaluate", "predict", "encode", "info"):
        assert bad(command, "nosuch.h5") == "no such file: nosuch.h5"
    assert "no such file" in bad("predict", put_model(tmp_path, "classifier"), "nosuch.npy")
    assert bad("info", tmp_path).endswith("not a regular file")


def test_mnist_that_is_nowhere(monkeypatch, tmp_path):
    import deepbelief.datasets

    def offline(name):
        raise OSError("no network")

    monkeypatch.delenv("DEEPBELIEF_DATA", raising=False)
    monkeypatch.setattr(deepbelief.datasets, "_fetch_openml", offline)
    line = bad("pretrain", "mnist")
    assert "--data-dir" in line
    assert "fetch_openml" in line
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("command", ["info", "finetune", "evaluate", "predict", "encode"])
def test_damaged_and_foreign_models(tmp_path, command):
    good_bytes = model_bytes("classifier")
    flipped = bytearray(good_bytes)
    flipped[len(flipped) // 2] ^= 1
    newer = good_bytes.replace(b"version 1\n", b"version 9\n", 1)
    np.save("rows.npy", rows())
    cases = {
        "cut.h5": (good_bytes[:-1], "damaged"),
        "flipped.h5": (bytes(flipped), "damaged"),
        "newer.h5": (newer, "upgrade"),
        "text.h5": (b"hello\n", "not HDF5"),
        "empty.h5": (b"", "empty"),
        "data.h5": (good_bytes[512:], "not a model"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        before = snapshot(tmp_path)
        data = [] if command == "info" else ["rows.npy"]
        assert message in bad(command, name, *data)
        assert snapshot(tmp_path) == before


def test_metadata_that_lie(tmp_path):
    dbn = DBN((3,), random_state=0).fit(rows())
    for scaling in ({"kind": "x"}, {"kind": "minmax", "mean": [1], "scale": ["a"]}):
        save(dbn, "model.h5", metadata={"scaling": scaling})
        assert "no valid scaling" in bad("encode", "model.h5", "digits")
    for data in (3, {"source": 3}, {"source": ["digits"]}, []):
        save(dbn, "model.h5", metadata={"data": data})
        assert "pass DATA explicitly" in bad("encode", "model.h5")
    save(dbn, "model.h5", metadata={"data": {"source": "\x1b[2Jgone.npy\nline"}})
    assert "gone.npy" in bad("encode", "model.h5")


def test_the_wrong_kind_of_model(tmp_path):
    assert "fine-tune it first" in bad("predict", put_model(tmp_path, "dbn"))


OUTPUTS = {"pretrain": "model.h5", "finetune": "model.h5", "predict": "y.csv", "encode": "codes.npy"}


def using(command, tmp_path):
    """Return the words of a command that would work."""
    if command == "pretrain":
        return ("pretrain", *TINY)
    kind = "classifier" if command == "predict" else "dbn"
    return (command, put_model(tmp_path, kind), *(("--epochs", "1") if command == "finetune" else ()))


@pytest.mark.parametrize("command", OUTPUTS)
def test_outputs_that_cannot_be_written(tmp_path, command):
    words = using(command, tmp_path)
    name = OUTPUTS[command]
    (tmp_path / "folder.npy").mkdir()
    before = snapshot(tmp_path)
    assert "does not exist" in bad(*words, "--out", f"nowhere/{name}")
    assert "not a regular file" in bad(*words, "--out", "folder.npy", "--force")
    if command in ("pretrain", "finetune"):
        assert "does not exist" in bad(*words, "--log", "nowhere/log")
        assert "choose two names" in bad(*words, "--log", "same.h5", "--out", "same.h5")
    else:
        assert "did you mean '.npy'" in bad(*words, "--out", "x.npz")
        os.link(words[1], "alias.npy")
        assert "is an input file" in bad(*words, "--out", "alias.npy", "--force")
        Path("alias.npy").unlink()
    assert snapshot(tmp_path) == before


EMPTY = [
    ("pretrain", "digits", "--out", ""), ("pretrain", "digits", "--checkpoint", ""),
    ("pretrain", "digits", "--log", ""),
    ("pretrain", "digits", "--config", ""), ("pretrain", "--resume", ""), ("pretrain", ""), ("evaluate", "", "digits"),
    ("finetune", "m.h5", ""), ("sample", "m.h5", "--out", ""), ("info", ""), ("pretrain", "digits", "--data-dir", ""),
]  # fmt: skip


@case_by_case("words", EMPTY)
def test_an_empty_name_is_refused(tmp_path, words):
    """Such as the value of a variable of the shell that is not set."""
    result = run(*words)
    assert result.exit_code == 2
    assert "it is empty" in result.stderr.splitlines()[-1]
    assert snapshot(tmp_path) == {}


@case_by_case(("words", "code"), [
    (("pretrain", "digits", "--epochs", "9" * 5000), 2), (("pretrain", "digits", "--layers", "x\n\x1b[2J" * 500), 2),
    (("pretrain", "digits", "x" * 5000, "y\x1b[2J"), 2), (("info", "x" * 5000), 1),
    (("pretrain", "\x1b[2J\x07\x9b" * 900), 1),
    (("export", "m.h5"), 2), (("pretrain", "digits", "--backend", "x" * 5000), 1),
])  # fmt: skip
def test_messages_about_long_values_are_one_line_of_bounded_length(words, code):
    result = run(*words)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.exit_code == code
    assert result.stderr.endswith(f"{line}\n")
    assert len(line) < 6 * MAX_MESSAGE  # a control character takes six
    assert line.isprintable()


def test_files_of_the_package_in_the_wrong_place_are_told_apart(tmp_path):
    model, checkpoint = put_model(tmp_path, "dbn"), str(tmp_path / "run.ckpt.h5")
    RBM(2, n_iter=1, checkpoint=checkpoint).fit(np.eye(4))
    for command in (("evaluate", checkpoint), ("sample", checkpoint), ("finetune", checkpoint, "digits")):
        assert "holds a checkpoint of a run, not a model" in bad(*command)
    for rows in (model, checkpoint):
        assert bad("pretrain", rows).endswith("the file holds a model, not rows: give the file of the rows")


def test_remedies_are_spelled_as_options(tmp_path):
    np.save("rows.npy", np.random.default_rng(0).normal(size=(20, 3)))
    told = bad("pretrain", "rows.npy", "--visible", "bernoulli", "--scale", "none")
    assert told.endswith("scale the columns (--scale='minmax' or '255') or use --visible='gaussian'")
    assert bad("pretrain", "digits", "--labels", "y") == "digits already has labels; leave --labels='y' out"
    Path("odd.csv").write_bytes(b"1,2\n\x1b[2J,3\n")
    assert bad("pretrain", "odd.csv") == (
        "odd.csv: line 2, column 1: '\\x1b[2J' is not a number, and line 1 has '1'; correct the cell, leave it empty, "
        "or make the column a category with --columns"
    )
    with pytest.raises(DataError, match=r"scale='minmax' or '255'.* or use visible='gaussian'$"):
        RBM(2, visible="bernoulli").fit(np.load("rows.npy"))


@case_by_case(
    ("command", "mentions", "printed", "typed"),
    [
        ("pretrain", [Mention("early_stopping", True)], "early_stopping=True", "--early-stopping"),
        ("pretrain", [Mention("averaging", 0.5), ": ", Mention("centered", False)],
         "averaging=0.5: centered=False", "--averaging=0.5: no --centered"),
        ("pretrain", [Mention("learning_rate", 0.0012, ".1g"), ", ", Mention("n_iter", np.int64(20))],
         "learning_rate=0.001, n_iter=20", "--learning-rate=0.001, --epochs=20"),
        ("pretrain", ["a larger ", Mention("n_iter"), ", n_iter=20"], "a larger n_iter, n_iter=20",
         "a larger --epochs, n_iter=20"),
        ("finetune", [Mention("unlabeled", None), Mention("unlabeled", -1)], "unlabeled=Noneunlabeled=-1",
         "--unlabeled=none--unlabeled=-1"),
        ("finetune", [Mention("class_weight", {"a": 1}), " of {x}.csv"], "class_weight={'a': 1} of {x}.csv",
         "class_weight={'a': 1} of {x}.csv"),
        ("pretrain", [Mention("columns", {"a b": "dropped"})], "columns={'a b': 'dropped'}",
         "--columns='a b=dropped'"),
        ("size", [Mention("gradient", "pt")], "gradient='pt'", "gradient='pt'"),
    ],
)  # fmt: skip
def test_settings_of_a_message_are_spelled_as_they_are_typed(command, mentions, printed, typed):
    error = SettingError(*mentions)
    assert str(error) == printed
    for ctx in (click.Context(cli), click.Context(cli.get_command(None, command))):  # after a failure, and within
        ctx.invoked_subcommand = command
        with ctx:
            assert error.spelled(option_of) == typed


COMMANDS = {name: cli.get_command(click.Context(cli), name) for name in cli.list_commands(click.Context(cli))}


HOSTILE = st.text("{}='\"\\ -%_.aeo\ufdd0", max_size=8) | st.sampled_from(
    ["{epochs=3}", " {n_iter} ", "'{setting}'", "{epochs='3'}.csv", "{{n_iter}}", "%(n_iter)s", "n_iter=3", "--epochs"]
)
MENTIONS = st.builds(Mention, st.sampled_from(["n_iter", "hidden"]), st.sampled_from([..., "{n_iter=3}", 3]))


@given(st.lists(HOSTILE | MENTIONS, max_size=6), HOSTILE)
def test_text_passes_through_messages_whatever_it_contains(parts, prefix):
    spelled = {Mention("n_iter"): "--epochs", Mention("n_iter", 3): "--epochs=3"}
    spelled |= {Mention("n_iter", "{n_iter=3}"): "--epochs='{n_iter=3}'", Mention("hidden", 3): "--hidden=3"}
    spelled |= {Mention("hidden", "{n_iter=3}"): "--hidden='{n_iter=3}'", Mention("hidden"): "--hidden"}
    for name_of, told in (
        (str, lambda m: m.name + ("" if m.value is ... else f"={m.value!r}")),
        (option_of, spelled.get),
    ):
        expected = "".join(part if isinstance(part, str) else told(part) for part in parts)
        error = FileError(*parts)
        with click.Context(COMMANDS["pretrain"]):
            assert error.spelled(name_of) == expected
            assert LogWarning(Message("", Message(*parts)), symptom="").spelled(name_of) == expected
            for wrapped in (DataError(prefix, error), error.prefixed(prefix)):
                assert pickle.loads(pickle.dumps(wrapped)).spelled(name_of) == prefix + expected
    assert Message(f"{error}").spelled(option_of) == str(error)


def test_the_shell_keeps_the_braces_of_names():
    Path("{epochs=2} t.csv").write_text("{epochs=3},y\n" + "{epochs=4},1\nb,2\n" * 20)
    cases = (
        (["{epochs=1} t.csv"], "no such file or folder: {epochs=1} t.csv"),
        (["digits", "--labels", "' {n_iter} '"], """leave --labels="' {n_iter} '" out"""),
        (["{epochs=2} t.csv", "--labels", "z"], "{epochs=2} t.csv: no column and no file is called 'z'"),
        (
            ["{epochs=2} t.csv", "--columns", "z=number"],
            "--columns names 'z': unknown column 'z': choose one of {epochs=3}",
        ),
        (["{epochs=2} t.csv", "--columns", "{epochs=3}=number"], "column 1 ('{epochs=3}'): '{epochs=4}' is not"),
        (["{epochs=2} t.csv", "--out", "{epochs=5} d/x.h5"], "cannot write {epochs=5} d/x.h5: the folder"),
    )
    for arguments, told in cases:
        assert told in bad("pretrain", *arguments)
    good("pretrain", "{epochs=2} t.csv", "--labels", "y", "--layers", "2", "--epochs", "1", "--out", "m.h5", "-q")
    Path("other.csv").write_text("{epochs=4},y\n" + "a,1\nb,2\n" * 20)
    for arguments, told in (
        (("encode", "m.h5", "other.csv"), "the column '{epochs=3}'; it has the column '{epochs=4}'"),
        (("encode", "m.h5", "--out", "{seed=2} c.foo"), "{seed=2} c.foo: "),
        (("info", "{seed=2} c.npy"), "no such file: {seed=2} c.npy"),
    ):
        assert told in bad(*arguments)


REFUSED = "-1;?"  # a value of no option that has a registry or bounds


@case_by_case("command", COMMANDS)
def test_a_refused_value_is_told_with_its_option(command):
    with click.Context(COMMANDS[command]) as ctx:
        for parameter in ctx.command.params:
            checked = isinstance(parameter.type, (Registered, Bounded, Listed, Steps, Layers, ImageShape))
            if not isinstance(parameter, click.Option) or not checked:
                continue
            with pytest.raises((SettingError, click.BadParameter)) as refused:
                parameter.type_cast_value(ctx, REFUSED)
            error = refused.value
            told = error.format_message() if isinstance(error, click.BadParameter) else error.spelled(option_of)
            assert max(parameter.opts, key=len) in told, told


@case_by_case("command", ["pretrain", "finetune"])
def test_a_setting_that_the_library_refuses_is_told_with_its_option(command):
    tables = {**MACHINE, **PRETRAINING, **RECURRENT} if command == "pretrain" else FINE_TUNING
    with click.Context(COMMANDS[command]) as ctx:
        options = {parameter.name: parameter for parameter in ctx.command.params}
        told = {}
        for name, setting in tables.items():
            if name in options and isinstance(setting.kind, (Bounds, Flag, Shares)):
                with pytest.raises(SettingError) as refused:
                    setting.kind.checked(name, REFUSED)
                told[name] = refused.value.spelled(option_of)
        assert len(told) > 10
        assert not [line for name, line in told.items() if not line.startswith(max(options[name].opts, key=len))]


@pytest.mark.slow
def test_no_message_names_an_option_as_python_does():
    """Messages mention settings as parts of their own, which the shell writes as options."""
    names = {p.name for command in COMMANDS.values() for p in command.params if isinstance(p, click.Option)} | {
        *OTHER_NAMES
    }
    bare = "|".join(sorted(name for name in names if "_" in name))
    pattern = re.compile(rf"(?<![\w.(])({'|'.join(names)})=(?=['\w]|$)|(?<![\w.(='\"`])({bare})(?![\w(=']|\[)")
    found = {}
    for path in Path(deepbelief.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = getattr(node, "func", None)
            name = getattr(called, "id", None) or getattr(called, "attr", "")
            if name.endswith(("Error", "Warning", "Message")) and node.args:
                parts = [n.value for arg in node.args for n in ast.walk(arg) if isinstance(n, ast.Constant)]
                text = " ".join(part for part in parts if isinstance(part, str) and " " in part)
                if hit := pattern.search(text):
                    found[f"{path.name}:{node.lineno}"] = hit[0]
            inner = getattr(getattr(node, "value", None), "func", None)
            if isinstance(node, ast.FormattedValue) and getattr(inner, "id", "") in ("Mention", "Message", "unknown"):
                found[f"{path.name}:{node.lineno}"] = "a part of a message within a text"
    assert found == {}


def test_doubtful_labels_are_told_with_the_option_that_decides(tmp_path):
    rng = np.random.default_rng(0)
    np.savez("rows.npz", X=(rng.random((60, 4)) < 0.5).astype(np.float32), y=np.arange(60) % 3 - 1)
    good("pretrain", "rows.npz:X", "--layers", 3, "--epochs", 1, "--labels", "y", "--seed", 0, "--out", "m.h5", "-q")
    tune = ("finetune", "m.h5", "--epochs", 1, "--seed", 0, "-q", "--force", "--out", "t.h5")
    told = good(*tune)
    assert "pass --unlabeled=none if -1 is a class, or --unlabeled=-1 if it is not" in told.stderr
    assert load("t.h5").classes_.tolist() == [0, 1]
    for mark, classes, n_unlabeled in (("none", [-1, 0, 1], 0), ("-1", [0, 1], 20), ("1", [-1, 0], 20)):
        told = good(*tune, "--unlabeled", mark)
        assert "labels -1, 0 and 1" not in told.stderr
        assert load("t.h5").classes_.tolist() == classes
        assert load("t.h5").n_unlabeled_ == n_unlabeled
    assert "not a setting of a regressor" in bad(*tune, "--regression", "--unlabeled", "none")


def test_options_are_not_read_from_a_file_of_any_length(tmp_path):
    Path("c.toml").write_bytes(b"#" * (2**20 + 1))
    assert (
        bad("pretrain", "digits", "--config", "c.toml") == "c.toml: a file of options must have at most 1048576 bytes"
    )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
@case_by_case("command", OUTPUTS)
def test_a_folder_that_is_read_only(tmp_path, command):
    words = using(command, tmp_path)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "Permission denied" in bad(*words, "--out", locked / OUTPUTS[command])


@pytest.mark.parametrize("command", OUTPUTS)
def test_a_full_disk_leaves_the_old_file(tmp_path, command, monkeypatch):
    words = using(command, tmp_path)
    name = OUTPUTS[command]
    (tmp_path / name).write_bytes(b"old")
    before = snapshot(tmp_path)
    real = os.fsync

    def full(handle):
        if os.fstat(handle).st_size != len(PROBE):  # not the trial before the work
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    assert f"cannot write {name}: No space left on device; the old file" in bad(*words, "--out", name, "--force")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_model_that_cannot_be_written_to_its_place_is_kept(tmp_path, command, monkeypatch, beside):
    """The folder of --out goes away during the run: the model is beside the checkpoint or in the temporary folder."""
    words = (*using(command, tmp_path), "--seed", "1")
    for name in ("out", "kept", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(PlainReporter, "record", lambda *_: shutil.rmtree("out", ignore_errors=True))
    given = ("--checkpoint", "kept/run.h5") if beside else ()
    line = bad(*words, "--out", "out/m.h5", *given)
    where = tmp_path / ("kept" if beside else "temporary")
    (found,) = (p for p in where.iterdir() if p.name.startswith("m-"))
    assert (
        f"cannot write out/m.h5: the folder {tmp_path / 'out'} does not exist; the trained model is in {found}" in line
    )
    good(*words, "--out", "m.h5")
    for name, array in stack_arrays(found).items():
        np.testing.assert_array_equal(array, stack_arrays("m.h5")[name])


def stack_arrays(path):
    return {f"{i}{name}": a for i, w in enumerate(load(path).stack_) for name, a in w.arrays().items()}


@pytest.mark.skipif(os.name != "posix", reason="limits of processes")
@pytest.mark.slow
def test_a_model_that_fits_nowhere_stays_in_the_checkpoint(tmp_path):
    import resource

    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)), "cwd": tmp_path}
    words = ("pretrain", "digits", "--limit", "60", "--layers", "30", "--epochs", "1", "--seed", "1")
    done = process(*words, "--out", "m.h5", "--log", "m.log", **limit)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: cannot write m.h5: File too large; no other folder is writable; the trained model is lost"
    )
    assert len((tmp_path / "m.log").read_text().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["m.log"]


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_log_that_cannot_be_written_is_told_once(tmp_path, command, monkeypatch):
    """A full disk takes part of a line; room is found later; the run goes on."""
    words = using(command, tmp_path)
    real, room = LogReporter._write, iter([False, False, True, True, True])

    class Full:
        def __init__(self, file, room):
            self.file, self.room = file, room

        def write(self, line):
            if self.room:
                return self.file.write(line)
            if len(line) < 20:
                raise OSError(28, "No space left on device")
            return self.file.write(line[:-10])

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr(LogReporter, "_write", lambda self, file, line: real(self, Full(file, next(room)), line))
    told = good(*words, "--out", "m.h5", "--log", "m.log", "--quiet", "--epochs", "2" if command == "pretrain" else "4")
    warned = [line for line in told.stderr.splitlines() if line.startswith("Warning")]
    assert warned == [
        "Warning: no log: cannot write m.log: No space left on device; training continues [Diagnose a run: no-log]"
    ]
    written = [json.loads(line) for line in Path("m.log").read_text().splitlines()]
    assert [line["epoch"] for line in written] == ([1, 2] if command == "pretrain" else [3, 4])


def test_a_log_of_another_run_is_left_as_it_is(tmp_path):
    path = str(tmp_path / "m.log")
    first, second = LogReporter(path, replace=False), LogReporter(path, replace=False)
    first.record({"epoch": 1})
    with pytest.warns(LogWarning, match="another run is writing it; training continues"):
        second.record({"epoch": 1})
    first.record({"epoch": 2})
    first.close()
    second.record({"epoch": 2})  # told once, and not begun in the middle
    with pytest.warns(LogWarning, match="another run has written it meanwhile"):
        LogReporter(path, replace=False).record({"epoch": 1})
    assert [json.loads(line)["epoch"] for line in Path(path).read_text().splitlines()] == [1, 2]
    for append, epochs in ((True, [1, 2, 3]), (False, [3])):
        with contextlib.closing(LogReporter(path, append=append)) as log:
            log.record({"epoch": 3})
        assert [json.loads(line)["epoch"] for line in Path(path).read_text().splitlines()] == epochs


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_file_that_came_to_the_place_of_the_model_meanwhile_stays(tmp_path, command, monkeypatch):
    words, real = using(command, tmp_path), LogReporter.record
    monkeypatch.setattr(LogReporter, "record", lambda *a: (Path("m.h5").write_bytes(b"theirs"), real(*a))[1])
    line = bad(*words, "--out", "m.h5", "--log", "m.log", "--quiet", "--seed", "1")
    assert "m.h5 was written by another program meanwhile and is left as it is; the trained model is in " in line
    assert Path("m.h5").read_bytes() == b"theirs"
    assert load(line.rpartition(" ")[2]).n_features_in_ == 64
    good(*words, "--out", "m.h5", "--log", "m.log", "--quiet", "--force", "--seed", "1")
    assert load("m.h5").n_features_in_ == 64


def test_a_resumed_run_appends_to_its_own_log_only(tmp_path):
    Path("thesis.txt").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(SettingError, match="exists; choose another --log"):
        check_outputs(None, "thesis.txt", force=False, inputs=(), resumed=True)
    Path("m.log").write_text('{"epoch": 1}\n')
    check_outputs(None, "m.log", force=False, inputs=(), resumed=True)
    check_outputs(None, "m.log", force=True, inputs=())
    Path("m.log").unlink()
    Path("link.log").symlink_to("thesis.txt")
    for name in ("thesis.txt", "link.log"):
        with pytest.raises(SettingError, match="is not a log of deepbelief and is left as it is"):
            check_outputs("m.h5", name, force=True, inputs=("rows.csv",))
    Path("link.log").unlink()
    assert snapshot(tmp_path) == before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_that_do_not_fit_anywhere(tmp_path):
    path = put_model(tmp_path, "classifier")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "predict", str(path)], stdout=full, stderr=subprocess.PIPE, text=True,
                              env=ENVIRONMENT, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_run_that_diverges(tmp_path, command):
    words = using(command, tmp_path)
    (tmp_path / "model.h5").write_bytes(b"old")
    before = snapshot(tmp_path)
    if command == "pretrain":
        words = (*words, "--visible", "gaussian", "--learning-rate", "50")
    else:
        words = (*words, "--activation", "relu", "--learning-rate", "1e30")
    line = bad(*words, "--out", "model.h5", "--force")
    assert "diverged in epoch" in line
    assert "try --learning-rate=" in line
    assert line.endswith(" [Diagnose a run: diverged]; nothing was written")
    assert snapshot(tmp_path) == before


def test_a_run_that_diverges_late_is_an_error_too(tmp_path, monkeypatch):
    from deepbelief.monitor import Monitor

    looks = []

    def diverged(self, *arguments, is_model):
        looks.append(self)
        return "of late" if looks.count(self) == 2 and self.machine is not looks[0].machine else ""

    monkeypatch.setattr(Monitor, "divergence", diverged)
    line = bad("pretrain", *TINY)
    assert line.startswith("layer 2 diverged in epoch 2: of late; try --learning-rate=0.01")
    assert "kept" not in line
    assert snapshot(tmp_path) == {}


SETTINGS = [
    (("--gradient", "pdc"), "did you mean 'pcd'?"),
    (("--visible", "bernouli"), "did you mean 'bernoulli'?"),
    (("--hidden", "gausian"), "did you mean 'gaussian'?"),
    (("--schedule", "cosin"), "did you mean 'cosine'?"),
    (("--backend", "nunpy"), "did you mean 'numpy'?"),
    (("--scale", "256"), "255"),
    (("--layers", "0"), "--layers must be positive"),
    (("--layers", "5,-1"), "positive"),
    (("--epochs", "0"), "--epochs must be"),
    (("--passes", "0"), "--passes must be"),
    (("--learning-rate", "-1"), "--learning-rate must be"),
    (("--learning-rate", "nan"), "--learning-rate must be"),
    (("--batch-size", "0"), "--batch-size must be"),
    (("--momentum", "1"), "--momentum must be"),
    (("--seed", "-1"), "--seed must be"),
    (("--limit", "0"), "--limit must be"),
    (("--sparsity-target", "2"), "--sparsity-target must be"),
    (("--validation-fraction", "1"), "--validation-fraction must be"),
]


@case_by_case(("words", "message"), SETTINGS)
def test_settings_out_of_bounds(tmp_path, words, message):
    assert message in bad("pretrain", "digits", "--limit", 50, "--layers", 4, "--log", "log", *words)
    assert snapshot(tmp_path) == {}


def test_settings_of_fine_tuning_out_of_bounds(tmp_path):
    path = put_model(tmp_path, "dbn")
    before = snapshot(tmp_path)
    assert "did you mean 'sigmoid'?" in bad("finetune", path, "--activation", "sigmod")
    assert "--alpha must be" in bad("finetune", path, "--alpha", "-1")
    assert "--epochs must be" in bad("finetune", path, "--epochs", "0")
    assert snapshot(tmp_path) == before


@case_by_case("command", COMMANDS)
def test_a_number_out_of_bounds_is_shown_as_it_was_typed(command):
    with click.Context(COMMANDS[command]) as ctx:
        for parameter in ctx.command.params:
            for text in ("-3", "-0.25", "-1e+20") if isinstance(parameter.type, Bounded) else ():
                with pytest.raises((SettingError, click.BadParameter)) as refused:
                    parameter.type_cast_value(ctx, text)
                if isinstance(refused.value, SettingError):  # another text than an integer is wrong usage
                    assert str(refused.value).endswith(f", got {text}")


def test_a_number_in_a_file_of_options_is_shown_as_it_was_written(tmp_path):
    (tmp_path / "c.toml").write_text("learning-rate = 0\n")
    assert bad("pretrain", "digits", "--config", "c.toml").endswith(" must be a number > 0 or auto, got 0")
    assert bad("pretrain", "digits", "--learning-rate", "0").endswith(" must be a number > 0 or auto, got 0")
    assert bad("pretrain", "digits", "--momentum", "1.5").endswith(" must be a number >= 0 and < 1 or auto, got 1.5")


def test_messages_about_options_do_not_ask_for_values_of_python(tmp_path):
    (tmp_path / "c.json").write_text('{"layers": [5, 0]}')
    wanted = "--layers must be positive integers, such as 500,250, or auto, got "
    for command in ("pretrain", "sweep"):
        assert bad(command, "digits", "--layers", "0") == f"{wanted}0"
    assert bad("pretrain", "digits", "--config", "c.json") == f"{wanted}5,0"
    assert bad("pretrain", "digits", "--sparsity-target", "1").endswith(" must be a number > 0 and < 1, got 1")
    assert bad("finetune", put_model(tmp_path, "dbn"), "--max-norm", "0").endswith(" must be a number > 0, got 0")


def test_advice_of_the_library_is_given_in_options(tmp_path):
    lines = [f"{i % 7}.5,{'xy'[i % 2]},k,7," for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,one,one number,none", *lines]) + "\n")
    for kind, told in {
        "none=number": "column 'none' has no value at all: leave it out, or pass --columns=none=dropped",
        "one=category": "column 'one' has one category only: pass --columns=one=dropped",
        "one number=number": "column 'one number' has one value only: pass --columns='one number=dropped'",
    }.items():
        assert bad("pretrain", "t.csv", "--columns", kind) == f"t.csv: {told}"
    np.save("real.npy", rows() - 0.5)
    denoise = ("pretrain", "real.npy", "--pretraining", "denoising", "--layers", 4, "--epochs", 1)
    assert bad(*denoise, "--corruption-level", "1") == (
        "--corruption-level must be a number >= 0 and < 1 for --corruption='masking', got 1"
    )
    assert bad(*denoise, "--corruption", "salt_and_pepper") == (
        "--corruption='salt_and_pepper' is for data in [0, 1], and these are real values: use 'masking' or 'gaussian'"
    )


def test_options_of_other_names_are_named_as_they_were_typed(tmp_path):
    for option in ("--rows", "--classes", "--labeled"):
        assert bad("size", "10", "--rows", "9", option, "0").startswith(f"{option} must be an integer >= ")
    assert bad("size", "0") == "N_FEATURES must be an integer >= 1, got 0"
    assert bad("sweep", "digits", "--jobs", "0") == "--jobs must be an integer other than 0, got 0"
    Path("t.csv").write_text("a,b\n1,x\n2,y\n1,x\n")
    told = "--visible must be 'auto' for a table with text, categories, booleans or --columns, got 'gaussian'."
    assert bad("pretrain", "t.csv", "--visible", "gaussian").startswith(told)
    path = put_model(tmp_path, "dbn")
    assert "--n must be an integer >= 1, got 0" in bad("sample", path, "--n", "0")
    assert "--steps must be an integer >= 1, got 0" in bad("sample", path, "--steps", "0")
    assert "--epochs must be an integer >= 1" in bad("sweep", "digits", "--limit", 50, "--epochs", "0", "--quiet")
    assert "--rates must be different numbers" in bad("sweep", "digits", "--rates", "0.1,-1")
    ais = ("--likelihood", "--binarize", "sample", "--method", "ais", "--limit", "9")
    assert "--runs must be an integer >= 1, got 0" in bad("evaluate", path, *ais, "--runs", "0")


def test_a_file_that_exists_hides_no_other_mistake(tmp_path):
    path = put_model(tmp_path, "dbn")
    (tmp_path / "out.npy").write_bytes(b"old")
    (tmp_path / "out.h5").write_bytes(b"old")
    assert "did you mean 'pcd'" in bad("pretrain", "digits", "--out", "out.h5", "--gradient", "pdc")
    assert "no such file" in bad("pretrain", "nowhere.csv", "--out", "out.h5")
    assert "not a setting of a classifier" in bad("finetune", path, "--out", "out.h5", "--loss", "auto")
    assert "fine-tune it first" in bad("predict", path, "--out", "out.npy")
    assert "no such file" in bad("encode", path, "nowhere.npy", "--out", "out.npy")
    assert "exists" in bad("encode", path, "--out", "out.npy")
    (tmp_path / "folder.npy").mkdir()
    assert "--force" not in bad("encode", path, "--out", "folder.npy")  # which would not help


def test_cupy_without_cupy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for words in (("pretrain", "digits"), using("finetune", tmp_path), using("encode", tmp_path)):
        assert "CuPy" in bad(*words, "--backend", "cupy")
    assert set(snapshot(tmp_path)) == {"dbn.h5"}


def test_bernoulli_units_do_not_take_other_values(tmp_path):
    np.save("rows.npy", rows() * 2)
    line = bad("pretrain", "rows.npy", "--visible", "bernoulli", "--layers", 3)
    assert "row " in line
    assert "column " in line


def test_file_names_cannot_forge_lines(tmp_path):
    name = "x\x1b[31m\nError: forged.npy"
    result = run("pretrain", name)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr


def test_memory_that_is_not_there(tmp_path, monkeypatch):
    def too_much(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(DBN, "fit", too_much)
    assert "not enough memory" in bad("pretrain", *TINY)
    assert snapshot(tmp_path) == {}
    good("size", 4)
