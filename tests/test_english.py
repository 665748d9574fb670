"""The English of the package: README limits, and phrases that have a better word."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BANNED = {
    r"\bshall\b": "must",
    r"\bhangs? on\b": "depends on",
    r"\b(?:makes?|made) up\b": "sample",
    r"\bso many\b": "the number of",
    r"\b(?:that|which) are none\b": "name what is wrong",
    r"\bknows (?:no|one)\b": "supports",
    r"\bhow the house\b": "architecture",
    r"\bpeers? who\b": "communicator",
    r"\b[Kk]eepers?\b": "checkpointer",
    r"\bare held\b(?! out)": "are clamped",
    r"\b(?:goes|go|going|went) on\b": "resume or continue",
    r"\b(?<![Tt]here )(?:is|are) no (?!longer|less|lower|worse|reason|more|wider|farther|larger)\b": "is not a",
    r"\bof (?:yours|ours)\b": "your own",
    r"\btold apart\b|\btells? \w+ apart\b": "distinguish",
    r"\ball the same\b": "nevertheless, or nothing",
    r"\bmakes? of (?:it|them)\b": "reconstruction, prediction",
    r"\bmade again\b": "reconstructed",
    r"\bby heart\b": "memorise",
    r"(?<!mis)(?<!\w)taken for\b|\btakes? (?:it|them) for\b": "treated as",
    r"\b(?:does|do) not mind\b|\bminds (?:neither|no)\b": "is insensitive to",
    r"\bgiv(?:es?|en|ing) back\b|\bgave back\b": "returns, reconstructs",
    r"\b(?:drawn|pretraining) anew\b": "resampled, again",
    r"\bwhat (?:it|MODEL|(?:a|the) model) (?:was|is) trained on\b": "training data",
    r"\bin the place of\b": "instead of",
    r"\blevel with\b": "equal to",
    r"\bas \w+ left them\b": "after",
    r"\bcounts? for nothing\b": "is ignored",
    r"\bhears? of\b": "receives",
    r"\bworth \d+ of\b": "effective",
    r"\bby the clock\b": "wall time",
    r"\bfor ever\b": "indefinitely",
    r"\b[Tt]old\b|\b[Tt]ells? (?:whether|how|its|which)\b": "reports, Return whether",
    r"\bside by side\b": "in parallel, adjacent",
    r"(?<!instead )\bof (?:its|their) own\b": "separate, own",
    r"\bstands? (?:in|at|behind|beside)\b": "is in, follows",
    r"\b(?:is|are|was|were|be) looked at\b": "checked",
    r"\banew\b": "again",
    r"\bas (?:people|machines) (?:read|write)\b": "formatted for",
    r"\bthese very\b": "the same",
    r"\btakes? no part\b": "is left out",
    r"\b(?:does|do) not go with\b": "cannot be combined with",
    r"\bin the manner of\b": "like",
    r"\bnothing to (?:learn|compare with|save)\b": "name what is missing",
    r"\b(?:carry|carries) the estimate\b": "dominates",
    r"\bwhere (?:it|they|that) (?:is|are) given\b": "if given",
    r"\b(?<!so )(?:that|which) there (?:is|are)\b(?! (?:at|no)\b)": "existing, or leave it out",
    r"\btakes? no notice\b": "ignores",
    r"\bhas none of\b": "does not have",
    r"\bhostile\b": "malicious",
    r"\bstands? still\b": "does not change",
    r"\b(?:come|comes|came) back as\b": "is read as",
    r"\b(?:gone|goes|went) up and down\b": "reconstructed",
    r"\bone step downhill\b": "one optimizer step",
    r"\ba new one is\b": "to add one, write",
    r"\bpast the scheduler\b": "directly",
}
PROSE = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "benchmarks").glob("*.md"),
    *(p for p in (ROOT / "docs").rglob("*.md") if not {"api", "commands", "gallery", "build"} & set(p.parts)),
]
CODE = [*(ROOT / "deepbelief").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]


def found(text: str) -> list[str]:
    """Return the banned phrases of a text, each with what to write instead."""
    flat = " ".join(text.split())
    return [f"{m.group()!r}: {better}" for banned, better in BANNED.items() for m in re.finditer(banned, flat)]


def strings(source: str) -> str:
    """Return all docstrings, messages and help texts of a module."""
    nodes = ast.walk(ast.parse(source))
    return "\n".join(n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))


@pytest.mark.parametrize("paths", [PROSE, pytest.param(CODE, marks=pytest.mark.slow)], ids=["prose", "code"])
def test_no_banned_phrases(paths):
    wrong = {}
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if path.name == "CHANGELOG.md":
            text = text.split("### Changes of names")[0]
        wrong[str(path.relative_to(ROOT))] = found(strings(text) if path.suffix == ".py" else text)
    assert {path: phrases for path, phrases in wrong.items() if phrases} == {}


def riddles(source: str) -> list[str]:
    """Return the docstrings that begin with a question word in place of a noun or a verb."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(n) for n in ast.walk(ast.parse(source)) if isinstance(n, kinds)]
    return [text.splitlines()[0] for text in texts if text and re.match(r"(?:What|Those|By what|How|Where)\b", text)]


@pytest.mark.slow
def test_docstrings_begin_with_a_noun_or_a_verb():
    found = {str(p.relative_to(ROOT)): riddles(p.read_text(encoding="utf-8")) for p in CODE}
    assert {path: lines for path, lines in found.items() if lines} == {}
    assert riddles('def f():\n    """What it does."""') == ["What it does."]


def no_noun_phrase(source: str) -> bool:
    """Return whether a module's docstring begins with a question word, or with a verb and its object."""
    first = (ast.get_docstring(ast.parse(source)) or "What").splitlines()[0]
    question = r"(?:What|Whether|How|Where|Which|When|Why|Those)\b"
    command = r"[A-Z][a-z]+ (?:the|an?|all|each|every|it|this|these|its|their)\b"
    return re.match(f"{question}|{command}", first) is not None and not re.match(r"The\b", first)


def test_docstrings_of_modules_are_noun_phrases():
    assert [str(p.relative_to(ROOT)) for p in CODE if no_noun_phrase(p.read_text(encoding="utf-8"))] == []
    assert no_noun_phrase('"""Read the rows of a file."""')
    assert no_noun_phrase('"""Whether values are missing."""')
    assert not no_noun_phrase('"""Readers of the rows of a file."""')


def test_a_planted_phrase_is_found():
    assert found(strings('raise ValueError(f"the stack knows no classes in {x}")')) == ["'knows no': supports"]
    assert found("It hangs\non the seed") == ["'hangs on': depends on"]


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 900


def test_the_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [t for t in re.findall(r"\]\((?!https?:|#)([^)#]+)", text) if not (ROOT / t).exists()]
    assert missing == []


def test_every_answer_links_to_a_page():
    text = (ROOT / "docs" / "settings" / "questions.md").read_text(encoding="utf-8")
    answers = text.split("\n**")[1:]
    assert len(answers) >= 30
    assert [a for a in answers if "](" not in a] == []
