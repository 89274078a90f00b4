"""Where users' names and passwords come from."""

from .cached import SecretPolicy
from .errors import SecretError, SecretUnavailableError
from .static import StaticCredentials
from .store import CredentialStore

__all__ = ["CredentialStore", "SecretError", "SecretPolicy", "SecretUnavailableError", "StaticCredentials"]
