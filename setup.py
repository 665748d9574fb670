"""The build of binding.c, an optional extension, which pyproject.toml has no stable table for."""

import sys
import sysconfig

from setuptools import Extension, setup

FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-falign-loops=64"]
# binding.c keeps to Python's stable ABI, so that one wheel serves all versions. Free-threaded builds have none, and
# setuptools refuses to build a wheel for it there.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    ext_modules=[
        Extension(
            "deepbelief.backends._loops",
            ["deepbelief/backends/binding.c"],
            depends=[
                f"deepbelief/backends/{name}" for name in ("loops.c", "bfloat16.h", "crew.h", "products.h", "tiles.h")
            ],
            extra_compile_args=[] if sys.platform == "win32" else FLAGS,
            libraries=[] if sys.platform == "win32" else ["m"],
            optional=True,  # without a compiler the package installs without it
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if STABLE_ABI else [],
            py_limited_api=STABLE_ABI,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
)
