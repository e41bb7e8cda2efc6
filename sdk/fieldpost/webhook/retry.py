"""Which replies are tried again, and when."""

from random import getrandbits

from ..compat import const

#: Four attempts in all.
_FIXED_MS = (5000, 30000, 120000)
_FIRST_MS = const(500)
#: What a Retry-After may ask for.
MOST_S = const(3600)

OK = "success"
RETRY = "retrying"
GONE = "gone"
FAILED = "failed"
#: The queue does not have it any more.
LOST = "lost"


def verdict(status):
    """What an HTTP status means: OK, RETRY, GONE (disable the endpoint) or FAILED for good."""
    if 200 <= status < 300:
        return OK
    if status in (408, 425, 429) or status >= 500:
        return RETRY
    return GONE if status == 410 else FAILED


def delay_ms(row, attempts, elapsed_ms):
    """ms until the next attempt after so many, the first ``elapsed_ms`` ago; None: no more."""
    if row["retry"] == "fixed":
        return _FIXED_MS[attempts - 1] if attempts <= len(_FIXED_MS) else None
    delay = _FIRST_MS
    for _ in range(attempts - 1):
        delay = min(int(delay * row["retry_factor"]), row["retry_cap_ms"])
    # A quarter more or less, so that nodes do not come back together.
    delay += delay * (getrandbits(8) - 128) // 512
    return delay if elapsed_ms + delay <= row["retry_elapsed_ms"] else None
