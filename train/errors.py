"""The one exception that stands for a mistake of the user's."""


class UserError(Exception):
    """A mistake of the user's, told in one line, exit code 2."""
