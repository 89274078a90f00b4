"""What setup.cfg cannot say: the compiled helper, which is built where a C compiler is and left out where not."""

from pathlib import Path

from setuptools import Extension, setup

SOURCE = "rdsproxy/protocol/_walk.c"

setup(
    ext_modules=(
        [Extension("rdsproxy.protocol._walk", [SOURCE], optional=True)]
        if (Path(__file__).parent / SOURCE).exists()
        else []
    )
)
