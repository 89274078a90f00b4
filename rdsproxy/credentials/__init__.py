"""Where users' names and passwords come from."""

from .file import FileCredentials, SecretError

__all__ = ["FileCredentials", "SecretError"]
