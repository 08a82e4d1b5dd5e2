"""Models are made ready in a thread of their own: that may take minutes, and words are read meanwhile."""

import logging
import threading
from collections.abc import Callable

from shared.errors import SunaivaError

_log = logging.getLogger(__name__)


class Preparing:
    """Owns the thread. One thread at a time begins something here."""

    def __init__(self, *, failed: Callable[[str], None], ended: Callable[[], None]) -> None:
        """`failed` is told why, in a sentence; `ended` is called in any case."""
        self._failed = failed
        self._ended = ended
        self._thread: threading.Thread | None = None

    @property
    def is_under_way(self) -> bool:
        return self._thread is not None

    def begin(self, work: Callable[[], None]) -> None:
        """Do this, unless something is under way."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=[work], name="models", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Wait for the end of what is under way."""
        if (thread := self._thread) is not None:
            thread.join()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SunaivaError as error:
            self._failed(str(error))
        except Exception:  # noqa: BLE001 (nobody else would tell the person; memories are still found by their words)
            _log.exception("the language model cannot be used")
            self._failed("The language model cannot be used. The agent's log says why.")
        finally:
            self._thread = None
            self._ended()
