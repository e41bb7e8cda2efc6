"""The dispatcher under requests that nobody should send; ``tests/system`` sends many more."""

from api_fuzz import Fuzzer, fuzz
from api_kit import Api, Module


async def test_no_request_breaks_the_dispatcher():
    api = Api(mqtt=["kit.*"], max_request=4096, max_reply=4096, segment=512)
    methods = [
        ("kit", name, [line.split(":")[0] for line in Module.METHODS[name][1].split("\n")])
        for name in Module.METHODS
        if name not in ("wait", "work", "rows", "endless")
    ]
    replies, errors, _slowest = await fuzz(
        api.dispatcher, Fuzzer(methods, 1), 1000, ("mqtt", "serial")
    )
    assert replies > 700
    assert 300 < errors < replies
    assert await api.kit("echo", value=1) == {"value": 1}
    assert api.dispatcher._running == 0
    assert not api.dispatcher._jobs
