"""Keeps libraries from calling home: nothing of this product uses a network but to serve its own."""

import os


def forbid_telemetry() -> None:
    """Call before `onnxruntime` is imported, also by another library.

    Its packages report the machine and the path of the program to their maker, queue that in the person's cache folder, and
    send it from native code where no setting of Python reaches. This variable is read when the library is loaded.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251 (the library's only switch)
