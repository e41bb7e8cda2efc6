"""Signed requests: who knows the key sent them, a short while ago, once, and for this topic.

Where ``api.mqtt_secret`` is set, every request over MQTT is an envelope
``{"id"?, "auth":{"ts","nonce","mac"}, "request":"<JSON text>"}``: ``ts`` is the Unix time in ms,
``nonce`` 8 to 64 characters (no line break) that are new each time, and ``mac`` the lowercase
hexadecimal HMAC-SHA256 under the secret of the UTF-8 text ``ts LF nonce LF topic LF request``, the
topic being the whole one that the request is published to. The ``id`` is for the reply to what is
refused here; others repeat the one within the request.

Only ``ackSubscribe`` needs none: it confirms what the node has sent, by the numbers of just that.
"""

from ..compat import const, hexlify
from ..errors import ApiError
from ..hmac import equal, hmac_sha256

_NONCE_MIN, _NONCE_MAX = const(8), const(64)


class Signatures:
    """Opens envelopes under a secret, each once; ``clock`` is the node's, and has to be trusted.

    A request must not be older or newer than ``WINDOW_MS``, nor from before the node's boot. The
    ``NONCES`` newest are remembered; what is not newer than a forgotten one is refused too, so no
    request of this boot is ever done twice, even if the clock is set back.
    """

    WINDOW_MS = 60000
    NONCES = 64

    def __init__(self, secret, clock):
        self.secret = secret
        self._clock = clock
        self._known = []  # (ts, nonce), sorted
        self._floor = 0

    def open(self, topic, envelope):
        """The text of the request in an envelope. ApiError where it is not to be trusted."""
        try:
            auth, text = envelope["auth"], envelope["request"]
            ts, nonce, mac = auth["ts"], auth["nonce"], auth["mac"].encode()
            body = text.encode()
            # One text for one envelope: neither 1.5 for 1, nor a line that could be another's.
            if not (isinstance(ts, int) and _NONCE_MIN <= len(nonce) <= _NONCE_MAX):
                raise ValueError
            if "\n" in nonce:
                raise ValueError
            head = "%d\n%s\n%s\n" % (ts, nonce, topic)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ApiError("signature missing") from None
        wanted = hmac_sha256(self.secret.encode(), head.encode(), body)
        if not equal(hexlify(wanted).encode(), mac):
            raise ApiError("signature invalid")
        self._once(ts, nonce)
        return text

    def _once(self, ts, nonce):
        now = self._clock.unix_ms()
        if now is None:
            raise ApiError("clock not set")
        if ts <= max(self._floor, self._clock.offset_ms) or abs(ts - now) > self.WINDOW_MS:
            raise ApiError("signature expired")
        if (ts, nonce) in self._known:
            raise ApiError("signature used")
        self._known.append((ts, nonce))
        self._known.sort()
        if len(self._known) > self.NONCES:
            self._floor = self._known.pop(0)[0]
