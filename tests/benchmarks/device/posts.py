"""The firmware's ``requests`` as people use it: a post, its answer, then the next one.

JSON on stdin: ``url``, ``body``, ``seconds``, ``warm_up``. Prints posts answered and the time.
"""

import json
import sys
import time

import requests

HEADERS = {"Content-Type": "application/json"}


def post_for(ms, url, body):
    """Post until ``ms`` have passed; returns ``(posts, ms)``."""
    count = 0
    start = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), start) < ms:
        reply = requests.post(url, data=body, headers=HEADERS)
        if reply.status_code != 200:
            raise ValueError(reply.status_code)
        reply.close()
        count += 1
    return count, time.ticks_diff(time.ticks_ms(), start)


def main(url, body, seconds, warm_up):
    post_for(1000 * warm_up, url, body)
    count, ms = post_for(1000 * seconds, url, body)
    print(json.dumps({"count": count, "ms": ms}))


main(**json.load(sys.stdin))
