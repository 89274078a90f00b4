"""What is wrong with a secret."""

from rdsproxy.errors import StartError


class SecretError(StartError):
    """A secret that cannot be used: one line with its name and what is wrong, never what it holds."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"secret {name}: {reason}")
        self.name = name
        self.reason = reason


class SecretUnavailableError(SecretError):
    """A secret of which nothing is known, because where it is kept does not answer."""
