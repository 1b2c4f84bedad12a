"""What TOML cannot say: the C library, the Cython extensions, and where `auralis_server` lives.

All C is compiled once into a static library that every extension links. Variants of a kernel for
wider SIMD units are chosen by function attributes inside the C files, so one set of flags serves
the whole tree and the wheel runs on any x86-64 or aarch64 machine.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext

# No -ffast-math and no -march=native: output bits must not depend on the build machine, and NaN
# checks must survive. The three -fno flags drop errno and trap bookkeeping, not IEEE results.
CFLAGS = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-fPIC",
    "-Wall",
    "-Wextra",
]
C_SOURCES = sorted(glob("csrc/*.c"))
C_HEADERS = sorted(glob("csrc/*.h"))


class BuildClib(build_clib):
    """Compiles the C library on all cores; setuptools itself would go file by file."""

    def build_libraries(self, libraries):
        compile_ = self.compiler.compile

        def compile_side_by_side(sources, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                parts = list(pool.map(lambda source: compile_([source], **options), sources))
            return [path for part in parts for path in part]

        self.compiler.compile = compile_side_by_side
        super().build_libraries(libraries)


class BuildExt(build_ext):
    """Builds the static C library before the extensions that link it, in every kind of build."""

    def initialize_options(self):
        super().initialize_options()
        self.parallel = os.cpu_count()

    def run(self):
        self.run_command("build_clib")
        self.library_dirs.append(self.get_finalized_command("build_clib").build_clib)
        super().run()


extensions = [
    Extension(
        pyx.replace("/", ".").removesuffix(".pyx"),
        sources=[pyx],
        libraries=["auralis", "m"],
        include_dirs=["csrc"],
        depends=[*C_SOURCES, *C_HEADERS, "auralis_core/csrc.pxd"],
        extra_compile_args=["-O2", "-ffp-contract=off"],
    )
    for pyx in sorted(glob("auralis_core/*.pyx"))
]

setup(
    packages=["auralis_core", "auralis_server", "auralis_server.rpc"],
    package_dir={"auralis_server": "server"},
    package_data={
        "auralis_core": ["py.typed", "*.pyi"],
        "auralis_server": ["py.typed", "web/*"],
        "auralis_server.rpc": ["*.proto", "*.pyi"],
    },
    libraries=[
        (
            "auralis",
            {
                "sources": C_SOURCES,
                "include_dirs": ["csrc"],
                "cflags": CFLAGS,
                "obj_deps": {"": C_HEADERS},
            },
        )
    ],
    ext_modules=cythonize(
        extensions,
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "freethreading_compatible": False,
        },
    ),
    cmdclass={"build_clib": BuildClib, "build_ext": BuildExt},
)
