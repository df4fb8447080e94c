"""The garbage collector of a long-running process."""

import gc
from typing import Final

THRESHOLD: Final = (20_000, 20, 50)


def settle() -> None:
    """Call once what lives as long as the process is loaded: it is never walked again, the rest seldom.

    With a thousand jobs in flight the collector took half of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLD)
