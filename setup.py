"""The part of the build that pyproject.toml has no settled words for: loops.c, which is optional."""

import sys

from setuptools import Extension, setup

FLAGS = [] if sys.platform == "win32" else ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]

setup(
    ext_modules=[
        Extension(
            "deepbelief.backends._loops",
            ["deepbelief/backends/loops.c"],
            extra_compile_args=FLAGS,
            optional=True,  # without a compiler the package installs without it
            py_limited_api=True,  # nothing of Python is used: one wheel for all versions
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
