"""The one kind of error the launcher reports as a line instead of a traceback."""


class UserError(Exception):
    """Something the user asked for cannot be done; the message says what and what would do."""


# What the launcher and `train` both end with after a mistake of the user.
USER_ERROR_EXIT_CODE = 2
# How that one line begins, in the launcher and in `train`.
USER_ERROR_PREFIX = "error: "
