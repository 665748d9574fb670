"""The build of loops.c, an optional extension, which pyproject.toml has no stable table for."""

import sys
import sysconfig

from setuptools import Extension, setup

FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-falign-loops=64"]
# loops.c calls no function of Python's, so that one wheel serves all versions. Free-threaded builds have no stable ABI,
# and setuptools refuses to build a wheel for it there.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    ext_modules=[
        Extension(
            "deepbelief.backends._loops",
            ["deepbelief/backends/loops.c"],
            depends=[f"deepbelief/backends/{name}.h" for name in ("bfloat16", "crew", "products", "tiles")],
            extra_compile_args=[] if sys.platform == "win32" else FLAGS,
            libraries=[] if sys.platform == "win32" else ["m"],
            optional=True,  # without a compiler the package installs without it
            py_limited_api=STABLE_ABI,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
)
