"""What stops the proxy from starting."""


class StartError(Exception):
    """The proxy cannot start.

    ``str()`` of it is what an operator needs to read, without a traceback: what was tried and what is wrong. It
    never holds a secret. The command line turns it into that text and exit status 1; an application that embeds
    the proxy gets the exception itself.
    """
