"""What setup.cfg cannot say: the compiled helpers, which are built where a C compiler is and left out where not."""

from pathlib import Path

from setuptools import Extension, setup

SOURCES = ("rdsproxy/_sender.c", "rdsproxy/_serve.c", "rdsproxy/protocol/_walk.c")

setup(
    ext_modules=[
        Extension(source.removesuffix(".c").replace("/", "."), [source], optional=True)
        for source in SOURCES
        if (Path(__file__).parent / source).exists()
    ]
)
