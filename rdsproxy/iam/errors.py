"""Why a token does not let its client in. The texts are for the log alone, and quote nothing of the token."""


class TokenError(Exception):
    """A token that proves nothing."""


class TokenUndecidedError(Exception):
    """It cannot be told at the moment what a token proves: whoever knows does not answer, say."""


class TooManyTokensError(TokenUndecidedError):
    """Too many tokens wait to be verified."""
