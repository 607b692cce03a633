"""Builds the one C extension; everything else about the package is in pyproject.toml."""

import os
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

# HELIOTROPE_CFLAGS adds flags (sanitizers, cross builds) without editing this file. No -march here: the
# kernels choose at run time what the processor can do, so one build serves every machine of its kind.
extra = os.environ.get("HELIOTROPE_CFLAGS", "").split()

extension = Extension(
    "heliotrope.native._core",
    sources=["native/_core.pyx", *sorted(glob("native/*.c"))],
    depends=sorted(glob("native/*.h")),
    include_dirs=["native"],
    extra_compile_args=["-O3", "-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra", *extra],
    extra_link_args=extra,
)

setup(ext_modules=cythonize([extension], build_dir="build/cython", language_level=3))
