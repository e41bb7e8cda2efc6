"""``Retry-After`` of HTTP (RFC 9110, 10.2.3): seconds, or a date."""

import email.utils
import time


def retry_after_s(text, now_s=None):
    """Seconds to wait, never negative; None where the header is absent or nonsense."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text) if len(text) < 10 else None
    try:
        when = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError):
        return None
    return max(0.0, when - (time.time() if now_s is None else now_s))
