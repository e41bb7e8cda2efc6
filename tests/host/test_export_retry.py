"""Retry-After: seconds and dates."""

import pytest

from fieldpost_tools.export.retry import retry_after_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 120 ", 120),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 400, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 60),
        ("Wed Oct 21 07:28:00 2015", 60),
        ("Wed, 21 Oct 2015 07:26:00 GMT", 0),
        ("٣", None),
    ],
)
def test_retry_after(text, seconds):
    now_s = 1445412420  # 07:27:00
    assert retry_after_s(text, now_s) == seconds
