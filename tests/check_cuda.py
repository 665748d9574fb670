"""Check the CUDA backend on a machine without a GPU: its kernels by NVRTC, its calls by CuPy's signatures.

Run as a script where the extra ``cuda-check`` is installed. NVRTC compiles the kernels to machine code for several
architectures, and reports registers and spills. The names and keywords that ``tests/fake_device.py`` allows, and the
names that ``cupy_backend.py`` takes from CuPy itself, must exist in the installed CuPy. Neither needs a driver.
"""

import ast
import ctypes
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from deepbelief.backends import kernels  # noqa: E402

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
ENTRY = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)


class Nvrtc:
    """NVIDIA's run-time compiler, from its wheel or from the library path."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(find_nvrtc()))
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def call(self, name: str, *args: Any) -> None:
        code = getattr(self._library, name)(*args)
        if code:
            raise RuntimeError(f"{name}: {self._library.nvrtcGetErrorString(code).decode()}")

    def text(self, program: ctypes.c_void_p, what: str) -> bytes:
        """Return the log or the machine code of a program."""
        size = ctypes.c_size_t()
        self.call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw

    def version(self) -> str:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def compile(self, source: str, names: tuple[str, ...], architecture: str) -> tuple[bytes, str, list[str]]:
        """Return machine code, the assembler's log and the lowered names of the kernels."""
        program = ctypes.c_void_p()
        self.call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
        for name in names:
            self.call("nvrtcAddNameExpression", program, name.encode())
        options = [f"--gpu-architecture={architecture}", "-std=c++14", "--ptxas-options=-v"]
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        try:
            self.call("nvrtcCompileProgram", program, len(options), array)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self.text(program, 'ProgramLog').decode()}") from error
        lowered = []
        for name in names:
            pointer = ctypes.c_char_p()
            self.call("nvrtcGetLoweredName", program, name.encode(), ctypes.byref(pointer))
            lowered.append((pointer.value or b"").decode())
        return self.text(program, "CUBIN"), self.text(program, "ProgramLog").decode().rstrip("\0"), lowered


def find_nvrtc() -> Path | str:
    """Return the library of the wheel ``nvidia-cuda-nvrtc-cu12``, else the name by which the system knows it."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in sorted(Path(folder).glob("cuda_nvrtc/lib/libnvrtc.so.*")):
            return path
    return "libnvrtc.so"


def kernel_faults() -> Iterator[str]:
    """Yield what is wrong with the kernels; print their registers."""
    nvrtc = Nvrtc()
    print(f"NVRTC {nvrtc.version()}, {len(kernels.NAMES)} kernels")
    for architecture in ARCHITECTURES:
        try:
            code, log, lowered = nvrtc.compile(kernels.SOURCE, kernels.NAMES, architecture)
        except RuntimeError as error:
            yield f"{architecture}: {error}"
            continue
        entries = {name: tuple(map(int, numbers)) for name, *numbers in ENTRY.findall(log)}
        for name, symbol in zip(kernels.NAMES, lowered, strict=True):
            if symbol not in entries:
                yield f"{architecture}: no machine code of {name}"
            elif any(entries[symbol][:3]):
                yield f"{architecture}: {name} spills, (stack, stores, loads) = {entries[symbol][:3]} bytes"
        if "warning" in log.lower():
            yield f"{architecture}: {log}"
        most = max((numbers[3] for numbers in entries.values()), default=0)
        print(f"  {architecture}: {len(entries)} entries, {len(code)} bytes, at most {most} registers")


def parameters(function: Any) -> set[str] | None:
    """Return the names of the parameters; None where neither the signature nor the docstring shows them."""
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        head = (function.__doc__ or "").split("\n", 1)[0]
        shown = re.search(r"\((.*)\)", head)
        return None if shown is None else set(re.findall(r"\w+(?==|,|\)|$)", shown[1] + ","))


def name_faults(cupy: Any) -> Iterator[str]:
    """Yield the names and keywords that the package uses and CuPy lacks."""
    from fake_device import Namespace

    names = [name for name in dir(Namespace) if not name.startswith("_")]
    for name in names:
        if not hasattr(cupy, name):
            yield f"cupy.{name} does not exist"
            continue
        ours, theirs = getattr(Namespace, name), getattr(cupy, name)
        if not inspect.isfunction(ours) or (known := parameters(theirs)) is None or "args" in known:
            continue
        used = inspect.signature(ours).parameters.values()
        keywords = {p.name for p in used if p.kind is p.KEYWORD_ONLY or p.default is not p.empty}
        yield from (f"cupy.{name} takes no {keyword}=" for keyword in sorted(keywords - known))
    chains = set(attribute_chains(ROOT / "deepbelief" / "backends" / "cupy_backend.py"))
    for chain in sorted(chains):
        place = cupy
        for part in chain:
            if not hasattr(place, part):
                yield f"cupy.{'.'.join(chain)} does not exist"
                break
            place = getattr(place, part)
            if inspect.isclass(place) or callable(place):
                break
    print(f"CuPy {cupy.__version__}, {len(names)} names of the namespace, {len(chains)} of the backend's own")


def attribute_chains(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the attributes that a file looks up on ``cupy`` or ``xp``, as ("cuda", "runtime", "memGetInfo")."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        start = node.id if isinstance(node, ast.Name) else None
        if names and start in {"cupy", "xp"}:
            yield tuple(reversed(names))
        elif names and start == "self" and names[-1] == "xp" and names[:-1]:
            yield tuple(reversed(names[:-1]))


def main() -> None:
    import cupy

    faults = [*kernel_faults(), *name_faults(cupy)]
    print("\n".join(faults) or "no fault")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
