"""The architecture, as a test: one order of rooms, and a module imports only from the rooms above its own.

The checks take the root of a tree, so that each is tried on a planted violation as well as on this package.
"""

import ast
import functools
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tables import case_by_case

ROOT = Path(__file__).resolve().parents[1]
ORDER = [
    "documentation",
    "errors",
    "array_types",
    "typing",
    "extensions",
    "bounds",
    "quantities",
    "hyperparameters",
    "sizing",
    "recipes",
    "seeds",
    "fields",
    "backends",
    "units",
    "schedules",
    "activations",
    "losses",
    "optimizers",
    "stack",
    "sources",
    "datasets",
    "machine",
    "completion",
    "ladder",
    "network",
    "gradients",
    "components",
    "likelihood",
    "health",
    "sampling",
    "reweighting",
    "hdf5",
    "checkpoints",
    "communicator",
    "row_windows",
    "streaming",
    "training",
    "tensorboard",
    "settings",
    "monitor",
    "learner",
    "layer",
    "pretraining",
    "finetuning",
    "recurrent",
    "distributed",
    "estimators",
    "evaluation",
    "diagnostics",
    "cost",
    "plotting",
    "export",
    "__init__",
    "cli",
    "__main__",
]
RANK = {room: rank for rank, room in enumerate(ORDER)}
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 50  # with its signature, without docstring, comments and blank lines
MOST_METHODS = 20
MOST_LINES_WITH_ANY = 300  # of the library and the command line


def room_of(path: Path, root: Path) -> str:
    """Return the room that a file belongs to: its module or folder under deepbelief/, or cli."""
    parts = path.relative_to(root).with_suffix("").parts
    return "cli" if parts[0] == "cli" else parts[1]


def modules(root: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    """Yield room, path and syntax tree of every module of the library and the command line."""
    for folder in ("deepbelief", "cli"):
        for path in sorted((root / folder).rglob("*.py")):
            yield room_of(path, root), path, parsed(path.read_text(encoding="utf-8"))


@functools.cache
def parsed(text: str) -> ast.Module:
    """Return the syntax tree of a module, the same for every check."""
    return ast.parse(text)


@functools.cache
def nodes(tree: ast.Module) -> list[ast.AST]:
    """Return all nodes of a module's syntax tree."""
    return list(ast.walk(tree))


def imports(path: Path, tree: ast.Module, root: Path) -> Iterator[tuple[str, int, bool]]:
    """Yield (dotted name, line, whether at module level) of all that a module imports, wherever it does."""
    parts = path.relative_to(root).with_suffix("").parts
    package = (("deepbelief", *parts) if parts[0] == "cli" else parts)[:-1]
    top_level = {id(node) for node in _outside_functions(tree)}
    for node in nodes(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            base += node.module.split(".") if node.module else []
            names = [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "importlib.import_module"}:
            names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
        for name in names:
            yield name, node.lineno, id(node) in top_level


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from _outside_functions(child)


def target_room(name: str) -> str | None:
    """Return the room that a dotted name lies in; None outside this package."""
    first, *rest = name.split(".")
    if first != "deepbelief":
        return None
    return rest[0] if rest and rest[0] in RANK else "__init__"


def where(path: Path, line: int, root: Path) -> str:
    return f"{path.relative_to(root)}:{line}"


def unknown_rooms(root: Path) -> list[str]:
    return [f"{path.relative_to(root)}: not in the order" for room, path, _ in modules(root) if room not in RANK]


def upward_imports(root: Path) -> list[str]:
    found = []
    for room, path, tree in modules(root):
        for name, line, _ in imports(path, tree, root):
            target = target_room(name)
            if target and room in RANK and target != room and RANK[target] > RANK[room]:
                found.append(f"{where(path, line, root)}: {room} imports {target}")
    return found


def foreign_imports(root: Path) -> list[str]:
    """Return the imports of a library where only some rooms may know it."""
    found = []
    for room, path, tree in modules(root):
        rank = RANK.get(room, 0)
        for name, line, top_level in imports(path, tree, root):
            library = name.split(".")[0]
            allowed = True
            if library in {"click", "rich"}:
                allowed = room == "cli"
            elif library == "sklearn":
                allowed = rank >= RANK["estimators"] or (room in {"sources", "datasets"} and not top_level)
            elif library == "matplotlib":
                allowed = room == "plotting"
            elif library in {"cupy", "cupyx"}:
                allowed = room == "backends"
            if not allowed:
                found.append(f"{where(path, line, root)}: {room} imports {library}")
    return found


def super_calls(root: Path) -> list[str]:
    """Return the calls of super() in the engine, whose classes are abstract or final."""
    return [
        f"{where(path, node.lineno, root)}: {room} calls super()"
        for room, path, tree in modules(root)
        if RANK.get(room, 0) < RANK["estimators"]
        for node in nodes(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    ]


UNIT_NAMES = {"bernoulli", "gaussian", "rectified", "softmax", "labelled"}
UNIT_TYPES = {"Bernoulli", "Gaussian", "Rectified", "Softmax", "WithLabels"}


def unit_comparisons(root: Path) -> list[str]:
    """Return the places outside units/ that ask a unit for its name or class, and not for a capability."""
    found = []
    for room, path, tree in modules(root):
        for node in nodes(tree) if room != "units" else ():
            asked: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                asked = [node.left, *node.comparators]
            elif isinstance(node, ast.MatchValue):
                asked = [node.value]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".startswith", ".endswith")):
                asked = node.args
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"isinstance", "issubclass"}:
                asked = node.args[1:]
            parts = [part for each in asked for part in (each.elts if hasattr(each, "elts") else [each])]
            values = {part.value.partition(":")[0] for part in parts if _is_text(part)}
            if values & UNIT_NAMES or {ast.unparse(p).rpartition(".")[2] for p in parts} & UNIT_TYPES:
                found.append(f"{where(path, node.lineno, root)}: {room} compares with a unit type")
    return found


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


STRATEGIES = {"units", "gradients", "components", "optimizers", "schedules", "activations", "losses"}


def strategy_classes(root: Path) -> dict[str, str]:
    """Return the room of each class that a room of strategies defines."""
    return {
        node.name: room
        for room, _, tree in modules(root)
        if room in STRATEGIES
        for node in nodes(tree)
        if isinstance(node, ast.ClassDef)
    }


def strategy_checks(root: Path) -> list[str]:
    """Return the places that ask a strategy for its class outside the room that defines it."""
    found, classes = [], strategy_classes(root)
    for room, path, tree in modules(root):
        for node in nodes(tree):
            asked: list[ast.expr] = []
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"isinstance", "issubclass"}:
                asked = [part for each in node.args[1:] for part in (each.elts if hasattr(each, "elts") else [each])]
            elif isinstance(node, ast.Compare) and any(isinstance(op, (ast.Is, ast.IsNot)) for op in node.ops):
                asked = node.comparators
            elif isinstance(node, ast.MatchClass):
                asked = [node.cls]
            names = {ast.unparse(part).rpartition(".")[2] for part in asked} & set(classes)
            if any(classes[name] != room for name in names):
                found.append(f"{where(path, node.lineno, root)}: {room} asks for {', '.join(sorted(names))}")
    return found


READING = {"startswith", "endswith", "find", "index", "count", "partition", "rpartition", "removeprefix"}


def error_names(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the name and the scope of each error that is caught, or is an argument that says so."""
    for node in nodes(tree):
        if isinstance(node, ast.ExceptHandler) and node.name is not None:
            yield node.name, node
        elif isinstance(node, ast.arg) and node.annotation is not None:
            kind = ast.unparse(node.annotation).partition(" ")[0].rpartition(".")[2]
            if kind.endswith(("Error", "Exception", "Warning")):
                yield node.arg, tree


def read_messages(root: Path) -> list[str]:
    """Return the places where code decides by the message of an error."""
    found = {}
    for room, path, tree in modules(root):
        for name, scope in error_names(tree):
            texts = {f"str({name})", f"repr({name})", f"{name}.args", f"{name}.args[0]", f"{name}.message"}
            for node in ast.walk(scope):
                if isinstance(node, ast.Assign) and ast.unparse(node.value) in texts:
                    texts |= {ast.unparse(target) for target in node.targets}
                read = isinstance(node, ast.Attribute) and ast.unparse(node) == f"{name}.args"
                if isinstance(node, ast.Compare):
                    read = any(ast.unparse(side) in texts for side in (node.left, *node.comparators))
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    on_text = ast.unparse(node.func.value) in texts and node.func.attr in READING
                    matches = ast.unparse(node.func.value) == "re" and node.func.attr != "sub"
                    read = on_text or (matches and any(ast.unparse(arg) in texts for arg in node.args))
                if read:
                    found[where(path, node.lineno, root)] = f"{room} reads the message of an error"
    return [f"{place}: {text}" for place, text in found.items()]


OF_SCIKIT_LEARN = {"_label_binarizer", "_n_features_out"}  # attributes of its MLPClassifier and BernoulliRBM


def private_attributes(root: Path) -> list[str]:
    """Return the uses, above the estimators, of attributes that are private to another object."""
    found = []
    for room, path, tree in modules(root):
        allowed = {"_replace", "_asdict", "_fields"} | (OF_SCIKIT_LEARN if room == "export" else set())
        for node in nodes(tree) if RANK.get(room, 0) > RANK["estimators"] else ():
            owner, name = "", ""
            if isinstance(node, ast.Attribute):
                owner, name = ast.unparse(node.value), node.attr
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "hasattr", "setattr"}:
                owner, name = ast.unparse(node.args[0]), node.args[1].value if _is_text(node.args[1]) else ""
            if (
                name.startswith("_")
                and not name.startswith("__")
                and owner not in {"self", "cls"}
                and name not in allowed
            ):
                found.append(f"{where(path, node.lineno, root)}: {room} uses {owner}.{name}")
    return found


def instance_dicts(root: Path) -> list[str]:
    """Return the uses of ``__dict__``."""
    return [
        f"{where(path, node.lineno, root)}: {room} uses __dict__"
        for room, path, tree in modules(root)
        for node in nodes(tree)
        if (isinstance(node, ast.Attribute) and node.attr == "__dict__")
        or (isinstance(node, ast.Constant) and node.value == "__dict__")
    ]


def import_graph(root: Path) -> dict[str, set[str]]:
    """Return the modules of the tree that each of its modules imports, wherever it does."""
    dotted = {}
    for _, path, tree in modules(root):
        parts = path.relative_to(root).with_suffix("").parts
        parts = ("deepbelief", *parts) if parts[0] == "cli" else parts
        dotted[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path, tree
    graph: dict[str, set[str]] = {}
    for name, (path, tree) in dotted.items():
        targets = set()
        for imported, _, _ in imports(path, tree, root):
            target = imported if imported in dotted else imported.rpartition(".")[0]
            targets |= {target} & set(dotted)
        graph[name] = targets - {name}
    return graph


def import_circles(root: Path) -> list[str]:
    """Return the modules that import themselves by way of others."""
    graph, found, done = import_graph(root), [], set()

    def visit(name: str, way: list[str]) -> None:
        if name in way:
            circle = [*way[way.index(name) :], name]
            found.append(" -> ".join(circle))
            return
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, [*way, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])
    return found


def long_files(root: Path) -> list[str]:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for _, path, _ in modules(root)}
    return [f"{path.relative_to(root)}: {n} lines" for path, n in lengths.items() if n > MOST_LINES]


NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def long_functions(root: Path) -> list[str]:
    """Return the functions with too many lines of code; constructors that only store their parameters have none."""
    found = []
    for _, path, tree in modules(root):
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
        code = {n for token in tokens if token.type not in NO_CODE for n in range(token.start[0], token.end[0] + 1)}
        for node in nodes(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _only_stores(node):
                continue
            own = set(range(node.lineno, (node.end_lineno or 0) + 1)) & code
            if ast.get_docstring(node) is not None:
                own -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
            if len(own) > MOST_LINES_OF_A_FUNCTION:
                found.append(f"{where(path, node.lineno, root)}: {node.name} has {len(own)} lines of code")
    return found


def _only_stores(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a function only stores its parameters, as scikit-learn asks of an estimator's constructor."""
    return node.name == "__init__" and all(
        isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == f"self.{ast.unparse(line.value)}"
        for line in node.body
    )


def large_classes(root: Path) -> list[str]:
    """Return the classes with too many methods, properties included."""
    return [
        f"{where(path, node.lineno, root)}: {node.name} has {n} methods"
        for _, path, tree in modules(root)
        for node in nodes(tree)
        if isinstance(node, ast.ClassDef)
        and (n := sum(isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in node.body)) > MOST_METHODS
    ]


def repeated_module_names(root: Path) -> list[str]:
    """Return the modules of the library whose name another module or folder of the library bears too."""
    found: dict[str, list[str]] = {}
    for room, path, _ in modules(root):
        if room != "cli":
            name = path.parent.name if path.name == "__init__.py" else path.stem
            found.setdefault(name, []).append(str(path.relative_to(root)))
    return [f"{paths[-1]}: named as {paths[0]}" for paths in found.values() if len(paths) > 1]


CHECKS = [
    unknown_rooms,
    upward_imports,
    foreign_imports,
    super_calls,
    unit_comparisons,
    strategy_checks,
    read_messages,
    private_attributes,
    instance_dicts,
    import_circles,
    repeated_module_names,
    long_files,
    long_functions,
    large_classes,
]
Check = Callable[[Path], list[str]]


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_this_package_keeps_the_rules(check: Check) -> None:
    assert check(ROOT) == []


@pytest.mark.slow
def test_the_checks_see_this_package() -> None:
    rooms = {room for room, _, _ in modules(ROOT)}
    assert {"errors", "backends", "stack", "sizing", "sources", "machine"} <= rooms
    assert len({name for _, path, tree in modules(ROOT) for name, _, _ in imports(path, tree, ROOT)}) > 50


ALLOWED = {
    "deepbelief/units.py": "import numpy\nfrom deepbelief.errors import DataError\n",
    "deepbelief/machine.py": "from deepbelief import units\ndef f():\n    from deepbelief.stack import Stack\n",
    "deepbelief/backends/cupy_backend.py": "import cupy\nfrom . import kernels\n",
    "deepbelief/backends/kernels.py": "from deepbelief.backends import blas\n",
    "deepbelief/backends/blas.py": "import numpy\n",
    "deepbelief/plotting/axes.py": "def f():\n    from matplotlib.figure import Figure\n",
    "deepbelief/datasets.py": "def digits():\n    from sklearn.datasets import load_digits\n",
    "deepbelief/estimators/rbm.py": "import sklearn\nfrom .base import B\nclass R(B):\n    def f(self): super().f()\n",
    "deepbelief/estimators/dbn.py": (
        "class A:\n    def __init__(self, x):\n"
        + "        self.x = x\n" * 60
        + "    def f(self):\n"
        + '        """Do.\n\n        More.\n        """\n'
        + "        # why\n\n" * 60
        + "        return 1\n"
        + "".join(f"    def g{i}(self): return 1\n" for i in range(MOST_METHODS - 2))
    ),
    "deepbelief/estimators/base.py": "from ..machine import Machine\nunit = 'bernoulli' if Machine else 'gaussian'\n",
    "deepbelief/optimizers.py": "class Adam: pass\ndef f(o):\n    return isinstance(o, Adam)\n",
    "deepbelief/errors.py": "try:\n    f()\nexcept OSError as e:\n    raise E(str(e).splitlines()[0]) from e\n",
    "deepbelief/units/types.py": "def f(u):\n    return u.spec == 'bernoulli'\n",
    "cli/__init__.py": "import click\nfrom rich import print\nfrom deepbelief import RBM\nfrom .pretrain import main\n",
    "cli/pretrain.py": "from deepbelief.estimators import DBN\nfrom ._text import clean\n",
}
VIOLATIONS = [
    (unknown_rooms, "deepbelief/helpers.py", ""),
    (unknown_rooms, "deepbelief/helpers/__init__.py", ""),
    (upward_imports, "deepbelief/units.py", "from deepbelief.machine import Machine"),
    (upward_imports, "deepbelief/units.py", "import deepbelief.machine"),
    (upward_imports, "deepbelief/units.py", "import numpy, deepbelief.stack as s"),
    (upward_imports, "deepbelief/units.py", "from deepbelief import machine"),
    (upward_imports, "deepbelief/units.py", "from deepbelief import RBM"),
    (upward_imports, "deepbelief/units.py", "from . import stack"),
    (upward_imports, "deepbelief/units.py", "from .machine import Machine"),
    (upward_imports, "deepbelief/units.py", "def f():\n    from deepbelief.machine import Machine"),
    (upward_imports, "deepbelief/units.py", "import importlib\nimportlib.import_module('deepbelief.machine')"),
    (upward_imports, "deepbelief/units.py", "if TYPE_CHECKING:\n    from deepbelief.machine import Machine"),
    (upward_imports, "deepbelief/backends/kernels.py", "from deepbelief.units import UNITS"),
    (upward_imports, "deepbelief/backends/kernels.py", "from ..units import UNITS"),
    (upward_imports, "deepbelief/estimators/rbm.py", "from deepbelief.cli import main"),
    (foreign_imports, "deepbelief/estimators/rbm.py", "def f():\n    import click"),
    (foreign_imports, "deepbelief/plotting.py", "from rich.table import Table"),
    (foreign_imports, "cli/report.py", "def f():\n    import matplotlib"),
    (foreign_imports, "deepbelief/estimators/rbm.py", "def f():\n    from matplotlib.figure import Figure"),
    (foreign_imports, "deepbelief/datasets.py", "from sklearn.datasets import load_digits"),
    (foreign_imports, "deepbelief/datasets.py", "class A:\n    import sklearn.datasets"),
    (foreign_imports, "deepbelief/sources/__init__.py", "import sklearn"),
    (foreign_imports, "deepbelief/training.py", "def f():\n    import sklearn"),
    (foreign_imports, "deepbelief/machine.py", "def f():\n    import cupy as xp"),
    (foreign_imports, "deepbelief/estimators/rbm.py", "import cupyx.scipy"),
    (foreign_imports, "cli/bench.py", "def f():\n    import cupy"),
    (super_calls, "deepbelief/optimizers.py", "class A(B):\n    def f(self):\n        return super().f()"),
    (unit_comparisons, "deepbelief/machine.py", "def f(u):\n    return u.visible == 'gaussian'"),
    (unit_comparisons, "deepbelief/machine.py", "def f(u):\n    return u.visible in ('gaussian', 'bernoulli')"),
    (unit_comparisons, "deepbelief/machine.py", "def f(u):\n    return 'softmax' in u.visible"),
    (unit_comparisons, "deepbelief/machine.py", "def f(u):\n    return u.spec.startswith('softmax')"),
    (unit_comparisons, "cli/report.py", "def f(u):\n    return isinstance(u, (int, units.Softmax))"),
    (strategy_checks, "deepbelief/layer.py", "def f(o):\n    return isinstance(o, optimizers.Adam)"),
    (strategy_checks, "deepbelief/layer.py", "def f(o):\n    return type(o) is Adam"),
    (strategy_checks, "cli/report.py", "def f(o):\n    match o:\n        case Adam():\n            return 1"),
    (read_messages, "cli/report.py", "try:\n    f()\nexcept E as e:\n    g('no x' in str(e))"),
    (read_messages, "cli/report.py", "try:\n    f()\nexcept E as e:\n    g(e.args[0])"),
    (read_messages, "cli/report.py", "try:\n    f()\nexcept E as e:\n    m = str(e)\n    g(m.startswith('no'))"),
    (read_messages, "cli/report.py", "def f(error: BaseException):\n    return re.search('x', str(error))"),
    (read_messages, "cli/report.py", "def f(error: OSError | None):\n    return str(error) == 'x'"),
    (private_attributes, "cli/report.py", "def f(model):\n    return model._seed"),
    (private_attributes, "deepbelief/diagnostics/trials.py", "def f(model):\n    return hasattr(model, '_prepare')"),
    (instance_dicts, "deepbelief/machine.py", "def f(x):\n    x.__dict__['a'] = 1"),
    (instance_dicts, "deepbelief/machine.py", "def f(x):\n    return getattr(x, '__dict__')"),
    (repeated_module_names, "deepbelief/units/machine.py", ""),
    (long_files, "cli/report.py", "x = 1\n" * (MOST_LINES + 1)),
    (long_functions, "cli/report.py", "def f(x):\n" + "    x += 1\n" * MOST_LINES_OF_A_FUNCTION),
    (
        long_functions,
        "deepbelief/machine.py",
        "class A:\n    def __init__(self, x):\n" + "        self.x = x + 1\n" * MOST_LINES_OF_A_FUNCTION,
    ),
    (
        large_classes,
        "deepbelief/machine.py",
        "class A:\n" + "".join(f"    def f{i}(self): pass\n" for i in range(MOST_METHODS + 1)),
    ),
]


def test_any_is_rare_and_its_aliases_name_a_concept() -> None:
    paths = [*(ROOT / "deepbelief").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum(bool(re.search(r"\bAny\b", line)) for line in lines) < MOST_LINES_WITH_ANY
    bare = [line for line in lines if re.match(r"\w+(: TypeAlias)? = Any$", line)]
    assert bare == [], "say in a comment what the alias stands for, and why nothing narrower can be said"


def plant(root: Path) -> Path:
    """Write a small package that keeps every rule."""
    for name, text in ALLOWED.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path)


@case_by_case("check", CHECKS)
def test_what_is_allowed_passes(tree: Path, check: Check) -> None:
    assert check(tree) == []


@pytest.mark.parametrize(
    "text",
    [
        "from deepbelief.backends import cupy_backend",
        "def f():\n    from .kernels import g; from . import cupy_backend",
    ],
)
def test_a_circle_of_imports_is_found(tree: Path, text: str) -> None:
    (tree / "deepbelief/backends/blas.py").write_text(text)
    assert any("deepbelief.backends.cupy_backend" in circle for circle in import_circles(tree))


@case_by_case(("check", "name", "text"), VIOLATIONS)
def test_a_planted_violation_is_found(tmp_path: Path, check: Check, name: str, text: str) -> None:
    tree = plant(tmp_path)
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_text(text)
    (violation,) = check(tree)
    assert violation.startswith(name)
