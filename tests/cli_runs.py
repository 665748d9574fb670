"""What the tests of the command line share: running a command, and small models that are trained once."""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

ROOT = Path(__file__).resolve().parents[1]
START = (
    "import importlib.util as u, deepbelief\n"
    f"if u.find_spec('deepbelief.cli') is None: deepbelief.__path__.append({str(ROOT)!r})\n"
    "from deepbelief.cli import main\n"
    "main()"
)
COMMAND = [sys.executable, "-c", START]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # pipes are buffered where users are
TINY = ("digits", "--limit", "200", "--layers", "12,8", "--epochs", "2", "--seed", "1")


def run(*args: object) -> Result:
    """Run a command in this process."""
    from deepbelief.cli import cli

    result = CliRunner().invoke(cli, [str(a) for a in args], prog_name="deepbelief")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def good(*args: object) -> Result:
    """Run a command that must succeed."""
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    return result


def bad(*args: object) -> str:
    """Run a command that must end in one line on stderr and exit code 1; return the line."""
    result = run(*args)
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.exit_code == 1, result.stderr
    assert len(lines) == 1, result.stderr
    assert result.stderr.endswith(lines[0] + "\n")
    return lines[0].removeprefix("Error: ")


def process(*args: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    command = [*COMMAND, *(str(a) for a in args)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT, **settings
    )  # fmt: skip


@functools.cache
def model_bytes(kind: str) -> bytes:
    """Return the file of a small model: ``"dbn"`` or ``"classifier"``, on the first 200 digits."""
    with tempfile.TemporaryDirectory() as folder:
        dbn, tuned = Path(folder) / "dbn.h5", Path(folder) / "tuned.h5"
        good("pretrain", *TINY, "--out", dbn, "--quiet")
        if kind == "dbn":
            return dbn.read_bytes()
        good("finetune", dbn, "--epochs", "3", "--seed", "2", "--out", tuned, "--quiet")
        return tuned.read_bytes()


def put_model(folder: Path, kind: str) -> Path:
    """Write such a file and return its path."""
    path = folder / f"{kind}.h5"
    path.write_bytes(model_bytes(kind))
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
