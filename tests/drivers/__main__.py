"""``python -m tests.drivers``: print the Debian packages that the clients need, as .ci/packages takes them."""

from tests.drivers.clients import PACKAGES

print(*(f"{package}={proof}" for packages in PACKAGES.values() for package, proof in packages.items()))
