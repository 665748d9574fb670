"""Search the built site for questions and check that the page with the answer comes first.

Usage: ``python docs/check_search.py build/docs``. It does what the site's search box does: Sphinx's search in
``searchtools.js`` over ``searchindex.js``, with the scores of ``scorer.js``.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import snowballstemmer

FOLDERS = {"start": 12, "howto": 12, "settings": 12, "reference": 10, "commands": 2}
GENERATED = ("reference/changelog", "reference/measured", "settings/advice", "settings/questions")
SCORES = {"title": 15, "partial title": 7, "term": 5, "partial term": 2}

QUESTIONS = {
    "my loss is NaN": "settings/diagnose",
    "training diverged": "settings/diagnose",
    "dead hidden units": "settings/diagnose",
    "all predictions are the same class": "settings/diagnose",
    "why do my reconstructions all look alike": "settings/diagnose",
    "how do I choose the number of hidden units": "settings/choosing",
    "how do I choose the learning rate": "settings/choosing",
    "CD or PCD": "settings/choosing",
    "does pretraining help": "settings/choosing",
    "should I scale or normalize my data": "settings/choosing",
    "dropout": "settings/choosing",
    "BernoulliRBM to deepbelief": "reference/migration",
    "learnergy": "reference/migration",
    "classify my own csv file": "start/shell",
    "install without a compiler": "start/install",
    "fill in missing values": "howto/missing_values",
    "impute a table with categories": "howto/tables",
    "pandas dataframe": "howto/tables",
    "semi-supervised learning with few labels": "howto/few_labels",
    "rows without a label": "howto/few_labels",
    "outlier detection": "howto/outliers",
    "anomaly score": "howto/outliers",
    "dimensionality reduction autoencoder": "howto/compress",
    "log-likelihood of an RBM": "howto/likelihood",
    "how do I draw samples": "howto/likelihood",
    "partition function": "howto/likelihood",
    "time series": "howto/sequences",
    "multi-label classification": "howto/targets",
    "regression": "howto/targets",
    "sparse matrix": "howto/data_formats",
    "polars": "howto/tables",
    "torch tensor": "howto/data_formats",
    "export weights to pytorch": "howto/export",
    "onnx": "howto/export",
    "read a model file in R": "howto/other_languages",
    "julia": "howto/other_languages",
    "out of memory": "howto/large_data",
    "resume after a crash": "howto/large_data",
    "checkpoint": "howto/large_data",
    "CUDA GPU": "howto/gpu",
    "dask cluster": "howto/cluster",
    "GridSearchCV": "howto/pipelines",
    "same results every time": "howto/reproduce",
    "random seed": "howto/reproduce",
    "plot the weights": "howto/watch",
    "tensorboard": "api/generated/deepbelief.tensorboard.TensorBoard",
    "progress bar": "howto/watch",
    "custom unit type": "howto/extend",
    "write my own loss function": "howto/extend",
    "contrastive divergence formula": "reference/how_it_works",
    "annealed importance sampling": "howto/likelihood",
    "parallel tempering": "reference/how_it_works",
    "cite deepbelief": "reference/citing",
    "is it safe to load a model file": "howto/share",
    "backwards compatibility": "reference/versions",
    "deprecation policy": "reference/versions",
    "RBMClassifier": "api/generated/deepbelief.RBMClassifier",
    "learning_rate_sweep": "api/generated/deepbelief.learning_rate_sweep",
    "deepbelief sweep": "commands/sweep",
    "file format": "reference/file_format",
    "loss goes up instead of down": "settings/diagnose",
    "how many epochs should I train": "settings/choosing",
    "the model overfits": "settings/diagnose",
    "training is too slow": "settings/diagnose",
    "save and load a trained model": "howto/share",
    "imbalanced classes": "howto/targets",
    "what is a deep belief network": "reference/how_it_works",
    "one-hot encoded columns": "howto/tables",
    "negative values": "settings/choosing",
    "recommend movies to users": "howto/ratings",
    "generate synthetic data": "howto/tables",
    "early stopping": "settings/choosing",
    "extract features for a random forest": "howto/pipelines",
    "generate music": "howto/sequences",
    "protein sequences fasta": "howto/families",
    "load MNIST": "howto/data_formats",
    "python version": "start/install",
    "windows": "start/install",
    "confusion matrix": "commands/evaluate",
}
"""What people type, and the page that must come first."""


def words_of(text: str) -> list[str]:
    """Return the words of a text, as the search splits a query."""
    return [word for word in re.split(r"[^\w]+", text.lower()) if word]


class Search:
    """The search of a built site.

    Parameters
    ----------
    site : Path
        Folder that Sphinx wrote.
    """

    def __init__(self, site: Path) -> None:
        text = (site / "searchindex.js").read_text(encoding="utf-8")
        self.index: dict[str, Any] = json.loads(text[text.index("(") + 1 : text.rindex(")")])
        data = (site / "_static" / "language_data.js").read_text(encoding="utf-8")
        self.stopwords = set(json.loads(re.search(r"stopwords = new Set\((\[.*?\])\)", data, re.S)[1]))
        self.stem = snowballstemmer.stemmer("english").stemWord

    def __call__(self, query: str) -> list[str]:
        """Return names of pages, the best first."""
        terms = {self.stem(w) for w in words_of(query) if w not in self.stopwords and not w.isdigit()}
        found = [*self._titles(query.lower()), *self._entries(query.lower())]
        found += [*self._objects(set(words_of(query))), *self._terms(terms)]
        ranked = sorted((-self._score(query, *each), each[1].lower(), each[0]) for each in found)
        return list(dict.fromkeys(self.index["docnames"][page] for _, _, page in ranked))

    def _score(self, query: str, page: int, title: str, score: float) -> float:
        name, asked = self.index["docnames"][page], {w for w in words_of(query) if len(w) > 2}
        folder = -6 if name in GENERATED else FOLDERS.get(name.split("/")[0], 0)
        return score + folder + 3 * sum(w in asked for w in words_of(title))

    def _titles(self, query: str) -> list[tuple[int, str, float]]:
        titles, found = self.index["titles"], []
        for title, places in self.index["alltitles"].items():
            if query in title.lower() and len(query) >= len(title) / 2:
                for page, _ in places:
                    whole = titles[page] == title
                    shown = title if whole else f"{titles[page]} > {title}"
                    found.append((page, shown, round(15 * len(query) / len(title)) + whole))
        return found

    def _entries(self, query: str) -> list[tuple[int, str, float]]:
        entries = self.index["indexentries"].items()
        near = [(e, places) for e, places in entries if query in e and len(query) >= len(e) / 2]
        found = [(page, round(100 * len(query) / len(e)), main) for e, places in near for page, _, main in places]
        return [(page, self.index["titles"][page], score / 4 if main else -100.0) for page, score, main in found]

    def _objects(self, asked: set[str]) -> list[tuple[int, str, float]]:
        found = []
        for prefix, objects in self.index["objects"].items():
            for page, kind, priority, _, name in objects:
                full, last = f"{prefix}.{name}".lower().lstrip("."), name.lower().split(".")[-1]
                title, kind_name = self.index["titles"][page], self.index["objnames"][str(kind)][2]
                about = f"{prefix} {name} {kind_name} {title}".lower()
                for word in asked:
                    if word in full and all(other in about for other in asked):
                        score = 20 if word in (full, last) else 6 if word in last else 0
                        found.append((page, f"{prefix}.{name}", score + {0: 15, 1: 5, 2: -5}.get(priority, 0)))
        return found

    def _terms(self, terms: set[str]) -> list[tuple[int, str, float]]:
        scores: dict[int, dict[str, float]] = {}
        for term in terms:
            for where, kind in (("terms", "term"), ("titleterms", "title")):
                self._add(scores, term, where, term, SCORES[kind])
            for where, kind in (("terms", "partial term"), ("titleterms", "partial title")):
                if len(term) > 2 and term not in self.index[where]:
                    for other in self.index[where]:
                        if term in other:
                            self._add(scores, term, where, other, SCORES[kind])
        counts = (len(terms), sum(len(term) > 2 for term in terms))
        pages = [(page, own) for page, own in scores.items() if len(own) in counts]
        return [(page, self.index["titles"][page], max(own.values())) for page, own in pages]

    def _add(self, scores: dict[int, dict[str, float]], term: str, where: str, key: str, score: float) -> None:
        pages = self.index[where].get(key, [])
        for page in pages if isinstance(pages, list) else [pages]:
            scores.setdefault(page, {})[term] = score


def main() -> int:
    """Print the questions whose page is not found first; return 1 if there are any."""
    search, wrong = Search(Path(sys.argv[1])), 0
    for question, page in QUESTIONS.items():
        found = search(question)
        if found[:1] != [page]:
            wrong += 1
            place = found.index(page) + 1 if page in found else "not found"
            print(f"{question!r}: {page} is {place}; first are {', '.join(found[:4]) or 'none'}")
    print(f"{len(QUESTIONS) - wrong} of {len(QUESTIONS)} questions find their page first")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
