"""What setup.cfg cannot say: the compiled helpers, which are built where a C compiler is and left out where not."""

from pathlib import Path

from setuptools import Extension, setup

SHORTCUT = ("attributes", "commands", "lending", "module", "replies", "sending")

HELPERS = {
    "rdsproxy._sender": ("rdsproxy/_sender.c",),
    "rdsproxy._serve": ("rdsproxy/_serve.c",),
    "rdsproxy.protocol._walk": ("rdsproxy/protocol/_walk.c",),
    "rdsproxy.shortcut._twins": tuple(f"rdsproxy/shortcut/{name}.c" for name in SHORTCUT),
}

setup(
    ext_modules=[
        Extension(
            name,
            list(sources),
            depends=["rdsproxy/shortcut/twins.h"],
            extra_compile_args=["-fvisibility=hidden"],
            optional=True,
        )
        for name, sources in HELPERS.items()
        if all((Path(__file__).parent / source).exists() for source in sources)
    ]
)
