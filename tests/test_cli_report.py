"""`report`: one page that needs nothing else, shows what the model holds, and lets no text of a file become markup."""

import base64
import io
import os
import re
import shutil
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cli_runs import TINY, bad, good, model_bytes, put_model, run, snapshot
from figures import sketch
from matplotlib.image import imread
from sklearn.datasets import load_digits
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor, DeepAutoencoder, RBMClassifier, evaluate, hdf5, load, save
from deepbelief.cli import _sections
from deepbelief.cli._mixing import ladder_notes
from deepbelief.diagnostics import mixing_report
from deepbelief.estimators.views import sample_rows
from deepbelief.likelihood import ais_log_z
from deepbelief.plotting import (
    plot_hidden_probabilities,
    plot_learning_curves,
    plot_mixing,
    plot_receptive_fields,
    plot_reconstructions,
    plot_samples,
    plot_weight_histogram,
    to_png,
)

pytestmark = pytest.mark.slow

VOID = {"meta", "img", "source", "br", "hr", "link", "input", "base"}
INK = {"light": "#1b1b1f", "dark": "#ececf0"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;b&gt; \x1b[31m\x07 \u202e\nnext"
SECTIONS = [
    "The model", "Quality", "Receptive fields", "Reconstructions", "Samples", "Learning curves",
    "Weights and their updates", "Hidden probabilities", "Settings", "Data and environment",
]  # fmt: skip


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Page(HTMLParser):
    """A page, taken apart: every tag with its attributes, the text of each section, and all pictures."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.tags, self.sections, self.pictures, self.title = [], {}, {}, ""
        self.open, self.section, self._dark = [], None, None
        self.path = Path(path)
        self.html = self.path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        assert len(found) == len(attributes)
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "source":
            self._dark = decoded(found["srcset"])
        if tag == "img":
            light = decoded(found["src"])
            self.pictures.setdefault(self.section, []).append((found, light, self._dark or light))
            self._dark = None

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "section":
            self.section = None

    def handle_data(self, data):
        if "h2" in self.open:
            self.section = data
            self.sections[data] = ""
        elif self.section is not None:
            self.sections[self.section] += data
        if "title" in self.open:
            self.title += data

    def has(self, tag, **attributes):
        return any(name == tag and attributes.items() <= found.items() for name, found in self.tags)


def decoded(uri):
    """Return the PNG file in a data URI."""
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return base64.b64decode(body, validate=True)


def expected(ax):
    """Return the light and the dark picture of a figure as the page has it."""
    ax.set_title("")
    return tuple(_sections.to_png(ax, ink=ink) for ink in INK.values())


def report(*words):
    """Make a page and take it apart."""
    good("report", *words, "--out", "page.html", "--force")
    return Page("page.html")


def check_safe(page):
    """Check that a page runs nothing and fetches nothing."""
    allowed = {
        "html", "head", "meta", "title", "style", "body", "header", "h1", "p", "nav", "ul", "li", "a", "main",
        "section", "h2", "div", "figure", "figcaption", "picture", "source", "img", "table", "tr", "th", "td",
    }  # fmt: skip
    assert {tag for tag, _ in page.tags} <= allowed
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "srcset", "href"):
            if name in attributes:
                assert attributes[name].startswith("#" if tag == "a" else "data:image/png;base64,")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert page.has("meta", **{"http-equiv": "Content-Security-Policy", "content": policy})
    assert "url(" not in page.html
    assert "@import" not in page.html
    assert "://" not in page.html
    assert all(c.isprintable() or c == "\n" for c in page.html)


@pytest.fixture(scope="module")
def dbn_page(tmp_path_factory):
    """The page of a pretrained model, with its name."""
    folder = tmp_path_factory.mktemp("page")
    good("report", put_model(folder, "dbn"), "--out", folder / "page.html")
    return Page(folder / "page.html")


@pytest.fixture(scope="module")
def digits():
    return (load_digits().data[:200] / 16).astype(np.float32)


def shown(digits, n):
    """Return rows evenly spread over the data."""
    return digits[np.linspace(0, len(digits) - 1, n).round().astype(int)]


@pytest.mark.usefixtures("sketched")
def test_the_page_compares_chains_with_rows_and_doubts_a_ladder():
    X = (np.random.default_rng(0).random((60, 6)) < 0.4).astype(float)
    np.save("rows.npy", X)
    rbm = RBM(3, gradient="ptt", n_iter=3, random_state=0).fit(X)
    save(rbm, "sound.h5")
    page = report("sound.h5", "rows.npy")
    found = mixing_report(rbm.weights_, X, n_chains=200, n_sweeps=300)
    section = page.sections["Mixing of chains"]
    for line in str(found).split("\n"):
        assert line[1:] in section
    assert [p[1:] for p in page.pictures["Mixing of chains"]] == [expected(plot_mixing(found))]
    assert "log Z by the ladder of training" in section
    assert "Warning" not in section
    rbm.history_[-1] |= {"unmet": 2, "log_z": -9.0}
    save(rbm, "doubtful.h5")
    section = report("doubtful.h5", "rows.npy").sections["Mixing of chains"]
    for message in ("two estimates disagree", "the chains of 2 checkpoints", "probability above 1"):
        assert message in section
    annealed = ais_log_z(rbm.weights_, betas=1000)
    rbm.history_[-1] |= {"unmet": 0, "log_z": annealed.high + 0.2}  # the ladder has an error too
    assert len(ladder_notes(SimpleNamespace(estimator=rbm), rbm.weights_, X)) == 1
    rbm.history_[-1] |= {"log_z": annealed.log_z + 0.5}
    save(rbm, "off.h5")
    section = report("off.h5", "rows.npy").sections["Mixing of chains"]
    assert "two estimates disagree" in section
    assert section.count("Warning") == 1


@pytest.mark.usefixtures("sketched")
def test_the_page_of_a_pretrained_model(tmp_path, digits):
    path = put_model(tmp_path, "dbn")
    page, dbn = report(path), load(path)
    check_safe(page)
    assert list(page.sections) == SECTIONS
    pictures = {name: [p[1:] for p in parts] for name, parts in page.pictures.items()}
    assert pictures == {
        "Receptive fields": [expected(plot_receptive_fields(dbn, layer=i)) for i in (0, 1)],
        "Reconstructions": [expected(plot_reconstructions(dbn, shown(digits, 10)))],
        "Quality": pictures["Quality"],
        "Samples": [expected(plot_samples(dbn, n_steps=100, random_state=0, start=shown(digits, 16)))],
        "Learning curves": [expected(plot_learning_curves(dbn))],
        "Weights and their updates": [expected(plot_weight_histogram(dbn, layer=i)) for i in (0, 1)],
        "Hidden probabilities": [expected(plot_hidden_probabilities(dbn, shown(digits, 100), layer=i)) for i in (0, 1)],
    }
    n_parameters = 64 * 12 + 64 + 12 + 12 * 8 + 12 + 8
    for piece in ("64 -> 12 -> 8", f"{n_parameters:,}", "DBN", "digits, 200 rows", "kB"):
        assert piece in page.sections["The model"]
    assert "a DBN keeps no updates" in page.sections["Weights and their updates"]
    assert "No rows were held out" in page.sections["Learning curves"]
    assert "rbm.n_iter2" in page.sections["Settings"]
    for piece in ("data.sourcedigits", "seed1", f"numpy {np.__version__}", "matplotlib 3"):
        assert piece in page.sections["Data and environment"]
    labels = load_digits().target[:200][np.linspace(0, 199, 10).round().astype(int)]
    assert f"order: {', '.join(map(str, labels))}." in page.sections["Reconstructions"]


@pytest.mark.usefixtures("sketched")
def test_the_page_of_a_fine_tuned_model(tmp_path, digits):
    dbn = put_model(tmp_path, "dbn")
    good("finetune", dbn, "--epochs", 3, "--early-stopping", "--seed", 2, "--out", "tuned.h5")
    page, clf = report("tuned.h5"), load("tuned.h5")
    check_safe(page)
    kept = clf.pretrained_stack_
    pictures = {name: [p[1:] for p in parts] for name, parts in page.pictures.items()}
    assert pictures["Reconstructions"] == [expected(plot_reconstructions(kept, shown(digits, 10)))]
    assert pictures["Samples"] == [expected(plot_samples(kept, n_steps=100, random_state=0, start=shown(digits, 16)))]
    for name in ("Reconstructions", "Samples"):
        assert "Sampled from the pretrained layers" in page.sections[name]
    assert pictures["Receptive fields"] == [expected(plot_receptive_fields(clf.stack_, layer=i)) for i in (0, 1)]
    assert pictures["Learning curves"] == [
        expected(plot_learning_curves(clf, quantities=q)) for q in (("loss", "validation_loss"), ("validation_score",))
    ]
    assert "held out" not in page.sections["Learning curves"]
    assert pictures["Weights and their updates"] == [
        expected(plot_weight_histogram(clf, layer=i, of=of)) for i in (0, 1) for of in ("weights", "updates")
    ]
    n_parameters = 64 * 12 + 12 + 12 * 8 + 8 + 8 * 10 + 10
    for piece in ("64 -> 12 -> 8 -> 10", f"{n_parameters:,}", "fine-tuned", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"):
        assert piece in page.sections["The model"]


def test_pages_are_whole_and_can_be_read_by_everybody(dbn_page):
    page = dbn_page
    assert page.html.startswith("<!DOCTYPE html>\n")
    assert page.has("html", lang="en")
    assert page.has("meta", charset="utf-8")
    assert page.has("meta", name="viewport", content="width=device-width, initial-scale=1")
    assert "prefers-color-scheme: dark" in page.html
    assert page.title == "dbn.h5"
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(set(ids)) == len(ids)
    links = [found["href"] for tag, found in page.tags if tag == "a"]
    assert len(links) == len(SECTIONS)
    assert all(link[1:] in ids for link in links)
    for name, parts in page.pictures.items():
        for attributes, light, dark in parts:
            assert attributes["alt"].startswith(f"{name}: ")
            assert len(attributes["alt"]) > len(name) + 6
            size = struct.unpack(">II", light[16:24])
            assert (int(attributes["width"]), int(attributes["height"])) == size
            for png in (light, dark):
                assert imread(io.BytesIO(png)).shape[1::-1] == size
    differ = {name: all(p[1] != p[2] for p in parts) for name, parts in page.pictures.items()}
    assert differ["Learning curves"]
    assert not differ["Receptive fields"]  # nothing in them to recolour


def test_hostile_texts_stay_texts(tmp_path, digits, monkeypatch):
    X = digits[:60, 20:30]
    classes = np.array([HOSTILE, "b"])
    y = classes[load_digits().target[:60] % 2]
    clf = DBNClassifier((3,), rbm=RBM(n_iter=1), max_iter=1, random_state=0).fit(X, y)
    names = [(HOSTILE + "$\\frac{" * (i == 0) + str(i)).replace("\n", " ") for i in range(10)]
    clf.feature_names_in_ = np.array(names, object)
    clf.history_ += [{"phase": HOSTILE, "epoch": 1, "loss": 1.0, HOSTILE: 1.0}]
    name = "<img src=x onerror=alert(3)>&amp;.h5"
    data = {"source": HOSTILE, HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}
    metadata = {HOSTILE: HOSTILE, "data": data, "list": [HOSTILE]}
    save(clf, name, metadata=metadata)
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    np.savetxt("x.csv", X, "%.6f", ",", header=header, comments="", encoding="utf-8")
    for words in (["x.csv"], []):
        page = report(name, *words)
        monkeypatch.setattr(_sections, "to_png", sketch)  # the other page has no other figures
        check_safe(page)
        assert page.title == name
        assert "<script>alert(1)</script>" in page.sections["Data and environment"]
        assert "<img src=x onerror=alert(2)>" in page.sections["The model"]
        assert page.html.count("<script") == 0


def test_every_part_of_a_page_is_escaped(tmp_path):
    from deepbelief.cli._page import Picture, Section, page

    png = to_png(plot_receptive_fields(RBM(2, n_iter=1).fit(np.eye(4))))
    section = Section(HOSTILE, [HOSTILE], [Picture(HOSTILE, png, png + b" ")], [(HOSTILE, HOSTILE)])
    Path("page.html").write_text(page(HOSTILE, HOSTILE, [section]), encoding="utf-8")
    found = Page("page.html")
    check_safe(found)
    ((attributes, light, dark),) = found.pictures[next(iter(found.pictures))]
    assert attributes["alt"].count("<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;b&gt;") == 2
    assert (light, dark) == (png, png + b" ")


@pytest.mark.usefixtures("sketched")
def test_long_metadata_are_cut(tmp_path, digits):
    rbm = RBM(2, n_iter=1, random_state=0).fit(digits[:30, 20:24])
    save(rbm, "m.h5", metadata={"long": "x" * 10**6, **{f"k{i}": i for i in range(10**4)}})
    page = report("m.h5")
    assert len(page.sections["Data and environment"]) < 10_000
    assert "see deepbelief info" in page.sections["Data and environment"]
    values = {"long": "x" * 10**6, **{f"k{i}": i for i in range(10**4)}}
    assert hdf5.describe("m.h5")["metadata"] == values


@pytest.mark.usefixtures("sketched")
def test_without_data_the_model_alone(tmp_path, digits):
    np.save("rows.npy", digits)
    good("pretrain", "rows.npy", *TINY[3:], "--out", "m.h5")
    with_rows = report("m.h5")
    Path("rows.npy").unlink()
    result = good("report", "m.h5", "--out", "alone.html")
    assert "Warning: no such file" in result.stderr
    assert "the model without data" in result.stderr
    assert "data   none: no such file" in result.stdout
    alone = Page("alone.html")
    check_safe(alone)
    assert set(with_rows.pictures) - set(alone.pictures) == {
        "Quality", "Reconstructions", "Hidden probabilities",
    }  # fmt: skip
    assert "Not measured: no such file" in alone.sections["Quality"]
    for name in ("Reconstructions", "Hidden probabilities"):
        assert "Not drawn: no such file" in alone.sections[name]
    assert "starts from a different row" in with_rows.sections["Samples"]
    assert "starts from a different row" not in alone.sections["Samples"]


@pytest.mark.usefixtures("sketched")
def test_how_good_a_classifier_is_stands_on_the_page(tmp_path, digits):
    path = put_model(tmp_path, "classifier")
    page, y = report(path), load_digits().target[:200]
    found = evaluate(load(path), digits, y)
    text = page.sections["Quality"]
    for name, value in found.facts():
        assert f"{name}{value}" in text
    assert ", the training data" in text
    wrong = [i for i in found.worst(200) if found.predicted[i] != y[i]][:10]
    assert f"row {wrong[0]} is {y[wrong[0]]}, predicted as {found.predicted[wrong[0]]}; row {wrong[1]} " in text
    assert page.pictures["Quality"][0][0]["alt"].endswith("Worst rows")
    cells = re.search(r'<table class="grid">(.*?)</table>', page.html, re.DOTALL)[1]
    numbers = [int(n or 0) for n in re.findall(r"<td[^>]*>(\d*)</td>", cells)]
    assert numbers == found.confusion.ravel().tolist()
    assert "batch_sizeauto" in page.sections["Settings"]
    assert "learning_rate_initauto: 0." in page.sections["Settings"]
    assert "hidden_layer_sizesauto: 12, 8" in page.sections["Settings"]


@pytest.mark.usefixtures("sketched")
def test_how_good_other_models_are(digits):
    np.savez("rows.npz", X=digits, y=np.arange(200) / 7)
    regressor = DBNRegressor((4,), rbm=RBM(n_iter=1), max_iter=1, random_state=0).fit(digits, np.arange(200) / 7)
    codes = DeepAutoencoder((8, 3), rbm=RBM(n_iter=1), max_iter=1, random_state=0).fit(digits)
    for model, y, words in ((regressor, np.arange(200) / 7, ("rmse", "R2")), (codes, None, ("squared error", "PCA"))):
        save(model, "m.h5")
        more = () if y is None else ("--labels", "y")
        text = report("m.h5", "rows.npz:X", *more, "--force").sections["Quality"]
        found = dict(evaluate(model, digits, y).facts())
        for word in words:
            assert f"{word}{found[word]}" in text
    save(regressor, "m.h5")
    assert "has no labels" in report("m.h5", "rows.npz:X", "--force").sections["Quality"]


@pytest.mark.usefixtures("sketched")
def test_the_page_of_an_rbm_with_labels(digits):
    y = np.array(["naught", "one", "<b>two"], object)[load_digits().target[:200] % 3]
    np.savez("rows.npz", X=digits, y=y.astype(str))
    clf = RBMClassifier(12, rbm=RBM(n_iter=2), random_state=0).fit(digits, y)
    save(clf, "m.h5")
    page, found = report("m.h5", "rows.npz:X", "--labels", "y"), evaluate(clf, digits, y)
    check_safe(page)
    for name, value in found.facts():
        assert f"{name}{value}" in page.sections["Quality"]
    assert "95 % interval" in page.sections["Quality"]
    cells = re.search(r'<table class="grid">(.*?)</table>', page.html, re.DOTALL)[1]
    numbers = [int(n or 0) for n in re.findall(r"<td[^>]*>(\d*)</td>", cells)]
    assert numbers == found.confusion.ravel().tolist()
    assert {name: len(parts) for name, parts in page.pictures.items()} == {
        "Quality": 1, "Receptive fields": 1, "Reconstructions": 1, "Samples": 1, "Learning curves": 1,
        "Weights and their updates": 2, "Hidden probabilities": 1,
    }  # fmt: skip
    assert "each class clamped in turn" in page.sections["Samples"]


def test_samples_are_of_many_kinds(digits):
    """Chains from spread rows show the modes that a long chain would hardly leave."""
    dbn = DBN((30,), rbm=RBM(n_iter=30, learning_rate=0.1), random_state=0).fit(digits)
    rows = sample_rows(dbn, 16, n_steps=100, random_state=0, start=shown(digits, 16))
    centres = np.stack([digits[load_digits().target[:200] == k].mean(axis=0) for k in range(10)])
    nearest = np.square(rows[:, None] - centres).sum(axis=2).argmin(axis=1)
    assert len(set(nearest)) >= 5


@pytest.mark.usefixtures("sketched")
def test_models_from_python(digits):
    X = digits[:, 20:30] * 5 - 1
    rbm = RBM(4, n_iter=3, validation_fraction=0.2, random_state=0).fit(X)
    save(rbm, "rbm.h5")
    np.save("x.npy", X)
    page = report("rbm.h5", "x.npy")
    check_safe(page)
    pictures = {name: [p[1:] for p in parts] for name, parts in page.pictures.items()}
    assert pictures["Weights and their updates"] == [
        expected(plot_weight_histogram(rbm, of=of)) for of in ("weights", "updates")
    ]
    assert len(pictures["Learning curves"]) == 2
    assert "pass DATA explicitly" in report("rbm.h5").sections["Reconstructions"]
    tuned = DBNClassifier((4,), rbm=RBM(n_iter=1), max_iter=1, random_state=0).fit(X, np.arange(200) % 2).stack_
    save(tuned, "tuned.h5")
    page = report("tuned.h5", "x.npy")
    for name in ("Reconstructions", "Samples"):
        assert "Not possible: the file holds only fine-tuned layers" in page.sections[name]
        assert name not in page.pictures
    assert "records no epochs" in page.sections["Learning curves"]
    assert "records no settings" in page.sections["Settings"]


@pytest.mark.usefixtures("sketched")
def test_an_autoencoder_shows_its_own_reconstructions(digits):
    autoencoder = DeepAutoencoder((20, 6), rbm=RBM(n_iter=1), max_iter=2, random_state=0).fit(digits)
    save(autoencoder, "a.h5")
    np.save("x.npy", digits)
    page = report("a.h5", "x.npy")
    check_safe(page)
    pictures = {name: [p[1:] for p in parts] for name, parts in page.pictures.items()}
    rows = shown(digits, 10)
    assert pictures["Reconstructions"] == [expected(plot_reconstructions(autoencoder, rows))]
    image = plot_reconstructions(autoencoder, rows).images[0].get_array()
    back = autoencoder.inverse_transform(autoencoder.transform(rows))
    np.testing.assert_allclose(image[-8:, :8], back[0].reshape(8, 8), atol=1e-6)


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("pretraining", ["denoising", "none"])
def test_what_is_no_model_of_the_data_has_no_samples(digits, pretraining):
    dbn = DBN((12,), pretraining=pretraining, rbm=RBM(n_iter=1), random_state=0).fit(digits)
    save(dbn, "d.h5")
    np.save("x.npy", digits)
    page = report("d.h5", "x.npy")
    assert "gives no model of the data" in page.sections["Samples"]
    assert "Samples" not in page.pictures
    assert "Mixing of chains" not in page.sections
    assert "Reconstructions" in page.pictures


@pytest.mark.usefixtures("sketched")
def test_names_of_columns_stand_beside_the_weights(digits):
    X = digits[:60, 20:24]
    np.savetxt("t.csv", X, "%.6f", ",", header="one,two,three,four", comments="")
    good("pretrain", "t.csv", "--layers", 3, "--epochs", 1, "--seed", 0)
    page, dbn = report("t.h5"), load("t.h5")
    named = expected(plot_receptive_fields(dbn, feature_names=["one", "two", "three", "four"]))
    assert page.pictures["Receptive fields"][0][1:] == named
    assert named == expected(plot_receptive_fields(dbn))  # the model keeps the names of its columns
    assert named != expected(plot_receptive_fields(dbn, feature_names=["four", "three", "two", "one"]))


@pytest.mark.usefixtures("sketched")
def test_images_of_other_shapes(digits):
    dbn = DBN((4,), rbm=RBM(n_iter=1), random_state=0).fit(digits[:, :60])
    save(dbn, "m.h5")
    np.save("x.npy", digits[:, :60])
    page = report("m.h5", "x.npy", "--shape", "6,10")
    assert page.pictures["Receptive fields"][0][1:] == expected(plot_receptive_fields(dbn, shape=(6, 10)))
    assert report("m.h5", "x.npy", "--shape", "none").pictures["Receptive fields"] != page.pictures["Receptive fields"]
    assert "72 pixels" in bad("report", "m.h5", "--shape", "8,9")


@pytest.mark.usefixtures("sketched")
def test_the_test_split_is_the_default(tmp_path):
    images, y = load_digits().images.astype(np.uint8) * 15, load_digits().target
    Path("mnist").mkdir()
    for split, part in (("train", slice(0, 200)), ("t10k", slice(200, 260))):
        for kind, values in (("images-idx3", images[part]), ("labels-idx1", y[part])):
            header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
            Path(f"mnist/{split}-{kind}-ubyte").write_bytes(header + values.astype(np.uint8).tobytes())
    good("pretrain", "mnist", "--data-dir", "mnist", *TINY[3:], "--out", "m.h5")
    page = report("m.h5")
    assert "mnist:test, 60 rows" in page.sections["The model"]
    rows = images[200:260].reshape(60, 64).astype(np.float32)
    picture = expected(plot_reconstructions(load("m.h5"), shown(rows, 10)))
    assert page.pictures["Reconstructions"][0][1:] == picture


def test_where_the_page_is(tmp_path, dbn_page):
    path = put_model(tmp_path, "dbn")
    Path("elsewhere").mkdir()
    os.chdir("elsewhere")
    result = good("report", path)
    assert set(snapshot(Path.cwd())) == {"dbn-report.html"}
    again = Path("dbn-report.html").read_text(encoding="utf-8")  # the same model gives the same page
    assert again.replace(str(path), "") == dbn_page.html.replace(str(dbn_page.path.with_name("dbn.h5")), "")
    assert result.stdout.startswith("page   dbn-report.html (")
    assert result.stderr.splitlines() == ["Using digits, the first 200 rows, the training data"]


def test_bad_input_is_one_line_and_changes_nothing(tmp_path, monkeypatch):
    path = put_model(tmp_path, "dbn")
    (tmp_path / "cut.h5").write_bytes(model_bytes("dbn")[:-1])
    (tmp_path / "old.html").write_bytes(b"old")
    np.save("narrow.npy", np.zeros((3, 60)))
    np.save("nan.npy", np.full((3, 64), np.nan))
    os.link(path, "alias.html")
    before = snapshot(tmp_path)
    monkeypatch.setitem(sys.modules, "cupy", None)
    cases = [
        ((path, "--out", "old.html"), "old.html exists; choose another --out, or replace it with --force"),
        ((path, "--out", "alias.html", "--force"), "is an input file"),
        ((path, "--out", "page.pdf"), "unknown ending"),
        ((path, "--out", "nowhere/page.html"), "does not exist"),
        ((path, "--backend", "cupy"), "CuPy"),
        ((path, "--backend", "nunpy"), "did you mean 'numpy'"),
        ((path, "nosuch.npy"), "no such file"),
        ((path, "narrow.npy"), "60 features"),
        ((path, "nan.npy"), "row 0, column 0"),
        (("cut.h5",), "damaged"),
        (("nosuch.h5",), "no such file"),
    ]
    for words, message in cases:
        assert message in bad("report", *words)
    assert snapshot(tmp_path) == before


@case_by_case("words", [(), ("m.h5", "--shape", "8x8"), ("m.h5", "x", "y"), ("m.h5", "--n", 3)])
def test_wrong_usage(words):
    assert run("report", *words).exit_code == 2


@pytest.mark.usefixtures("sketched")
def test_a_full_disk_leaves_the_old_page(tmp_path, monkeypatch):
    path = put_model(tmp_path, "dbn")
    Path("page.html").write_bytes(b"old")
    before, real = snapshot(tmp_path), os.fsync

    def full(handle):
        if os.fstat(handle).st_size:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in bad("report", path, "--out", "page.html", "--force")
    assert snapshot(tmp_path) == before


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    path = put_model(tmp_path, "dbn")
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert bad("report", path) == "figures need matplotlib: pip install 'deepbelief[plot]'"
    assert set(snapshot(tmp_path)) == {"dbn.h5"}


# In a browser


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
MEASURE = """<script>addEventListener("load", () => {
  const images = [...document.images];
  const root = document.documentElement;
  parent.document.body.dataset.measures = [innerWidth, root.scrollWidth, images.length,
    images.filter(i => i.naturalWidth > 0 && i.currentSrc.startsWith("data:")).length,
    images.filter(i => i.getBoundingClientRect().right > innerWidth).length,
    images.filter(i => i.parentNode.querySelector("source") && i.currentSrc !== i.src).length,
    getComputedStyle(document.body).backgroundColor].join(";");
})</script>"""


def measured(page, width, dark, folder):
    """Open a copy of the page in a frame of this width: no window of the browser is as narrow as a phone."""
    import html

    inner = page.html.replace("http-equiv", "data-was").replace("</body>", f"{MEASURE}</body>")
    frame = f'<iframe srcdoc="{html.escape(inner)}" style="width:{width}px;height:800px;border:0"></iframe>'
    (folder / "frame.html").write_text(f"<!DOCTYPE html><body>{frame}", encoding="utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
        "--disable-component-update", "--no-first-run", f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--window-size=1600,900", "--dump-dom",
        (folder / "frame.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    _, _, rest = done.stdout.partition('data-measures="')
    assert rest, done.stderr[-500:]
    *numbers, ground = rest.partition('"')[0].split(";")
    return [int(n) for n in numbers], ground


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_in_a_browser_nothing_is_wider_than_the_window(tmp_path):
    path = put_model(tmp_path, "classifier")
    name = "a-name-without-a-place-to-break-it-" * 4 + ".h5"
    save(load(path), name, metadata={"key" * 30: "value" * 100})
    page = report(name, "digits")
    n_pictures = sum(len(parts) for parts in page.pictures.values())
    n_recolored = sum(p[1] != p[2] for parts in page.pictures.values() for p in parts)
    assert 0 < n_recolored < n_pictures
    for width in (390, 1280):
        for dark in (False, True):
            numbers, ground = measured(page, width, dark, tmp_path)
            inner, scrolled, images, loaded, outside, switched = numbers
            assert inner == width
            assert scrolled <= inner
            assert images == loaded == n_pictures
            assert outside == 0
            assert switched == (n_recolored if dark else 0)
            assert ground == ("rgb(22, 23, 26)" if dark else "rgb(255, 255, 255)")
