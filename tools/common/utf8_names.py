"""File names are UTF-8 whatever the locale says, as records hold them."""

import os
import sys


def restart_with_utf8_names() -> None:
    """Start this program again in Python's UTF-8 mode, if file names are something else to it.

    Under a locale such as ``zh_CN.GBK`` Python takes the bytes of file names for that encoding,
    and that cannot be changed once it runs. What is printed stays in the locale's encoding.
    """
    # If it was told so already and does otherwise, "-X utf8=0" stands on the command line.
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    printed = getattr(sys.stdout, "encoding", None) or "utf-8"
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", f"{printed}:backslashreplace")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
