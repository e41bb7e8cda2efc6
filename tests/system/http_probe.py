"""Runs on either Python: ``http_probe FILE``, JSON ``{"settings": {}, "calls": [[name, call]]}``.

A call is ``{"url", "pause_ms", "parallel"}`` and arguments of ``Client.request``. Prints a
JSON object with ``[status, body]`` or the reason of each call, made one after the other
(``parallel``: a list, so many at once), and ``idle``: how many connections are kept in the end.
"""

import asyncio
import gc
import json
import sys

from fieldpost.compat import sleep_ms
from fieldpost.errors import LinkError
from fieldpost.http import Client


async def outcome(client, call):
    """``[status, body]`` or the reason."""
    try:
        response = await client.request(**call)
    except LinkError as error:
        return error.args[0]
    return [response.status, response.body.decode()]


async def main(job):
    """Outcomes of all calls."""
    client = Client(job["settings"])
    found = {}
    for name, call in job["calls"]:
        await sleep_ms(call.pop("pause_ms", 0))
        count = call.pop("parallel", 0)
        call = dict({"method": "POST", "body": b"x" * 3000}, **call)
        if count:
            calls = [outcome(client, call) for _ in range(count)]
            found[name] = await asyncio.gather(*calls)
        else:
            found[name] = await outcome(client, call)
    found["idle"] = len(client._idle)
    client.close()
    await sleep_ms(50)
    gc.collect()
    sys.stdout.write("#outcomes " + json.dumps(found) + "\n")


if __name__ == "__main__":
    # MicroPython cannot start with an argument of more than 255 bytes: hence a file.
    with open(sys.argv[1]) as file:
        asyncio.run(main(json.load(file)))
