"""Modbus RTU master: units on a serial line, RS-485 as a rule.

Devices that name the same ``uart`` or ``port`` share the line, on which one request waits for its
answer at a time; their keys of the line have to be the same. Keys of a device:

==================  ==============================================================================
``uart``            number of the board's UART, 0..9; or
``port``            path of a serial device, on a computer: ``/dev/ttyUSB0``
``tx``, ``rx``      pins of the UART, 0..99 (those the board's firmware has for it)
``de``              pin that is high while the board sends, 0..99: DE and /RE of a transceiver
                    (none: the transceiver finds out by itself)
``baudrate``        300..1000000 (9600)
``parity``          ``none``, ``even``, ``odd`` (none; the standard's default is even)
``stop``            stop bits, 1 or 2 (1)
``unit``            address of the device on the line, 1..247 (1)
``answer_ms``       longest time until a unit begins to answer, 10..60000 (300)
``timeout_ms``      for all of a read cycle (2000), with its waiting for other units of the line:
                    more than ``answer_ms`` for each attempt and each silent unit
``retries``         further attempts of a request that got no valid answer, 0..9 (1); a silent
                    unit gets none until it answers again, so that it holds up others for
                    ``answer_ms`` once a cycle only
==================  ==============================================================================

``max_gap``, ``word_order``, ``byte_order``, ``write_multiple`` and all keys of a point are those
of ``modbus``, and so is what it says of reading and writing.

An answer counts when it comes from the unit that was asked, has the function and the length that
were asked for, and a right CRC; what else is on the line is skipped. ``counters`` of a driver:
``timeout``, ``wrong unit``, ``wrong length``, ``bad crc`` and ``bad answer`` (to another request)
are attempts that failed, ``never silent`` those that could not begin, ``stray bytes`` are what
came before or beside an answer. A transceiver that hears what it sends is tolerated: its echo is
noticed.

Nothing in an answer says which request it is for. After one that came late, or never, the unit is
asked something else only when three times its ``answer_ms`` have passed since it was asked, and
what comes meanwhile is thrown away. So a unit may be that slow, and no value is wrong.

Framing and CRC: MODBUS over Serial Line, Specification and Implementation Guide V1.02
(modbus.org). Before a request the line is silent for 3.5 characters, or 1.75 ms above 19200 baud.
The end of an answer follows from its length, because systems with buffers do not show the times
between characters. Waiting is sleeping, for no longer than missing bytes take to arrive; only
``de`` is lowered by watching the UART for the last millisecond of a request. Another task that
runs just then delays that: where units answer at once, take a transceiver that switches by itself.
"""

from struct import pack, unpack_from

from ..compat import asyncio, const, sleep_ms, ticks_add, ticks_diff, ticks_ms
from ..errors import ConfigError, DriverError, LinkError
from .modbus import Modbus
from .modbus_pdu import RefusedError, check

#: The shortest answer: an exception.
_LEAST = const(5)
#: More than two frames: somebody does not stop talking.
_MOST = const(520)
#: How long adapters keep bytes back; and UARTs, in characters of silence.
_BUFFERED_MS = const(20)
_BUFFERED = const(12)
#: CRC of each low nibble, reflected polynomial 0xA001.
_NIBBLES = (
    (0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401)
    + (0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400)
)  # fmt: skip
_LINE = ("tx", "rx", "de", "baudrate", "parity", "stop")


def crc16(data):
    """CRC-16 of Modbus; 0 for bytes that end with their own, the low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        crc = crc >> 4 ^ _NIBBLES[crc & 15]
        crc = crc >> 4 ^ _NIBBLES[crc & 15]
    return crc


class ModbusRtu(Modbus):
    """One unit on a serial line."""

    # The rows of a line, then those of every Modbus device.
    DEVICE = """
        uart: int 0..9 = ?
        port: str 1..128 = ?
        tx: int 0..99 = ?
        rx: int 0..99 = ?
        de: int 0..99 = ?
        baudrate: int 300..1000000 = 9600
        parity: enum none even odd = none
        stop: int 1..2 = 1
        unit: int 1..247 = 1
        answer_ms: int 10..60000 = 300
        """ + Modbus.DEVICE[Modbus.DEVICE.find("retries:") :]

    def __init__(self, config, points):
        """``ConfigError`` also for a line that has no name, two, or pins it cannot have."""
        super().__init__(config, points)
        uart, port = config["uart"], config["port"]
        if (uart is None) == (port is None):
            raise ConfigError("%s.uart" % config["id"], uart, "either uart or port")
        for key in ("tx", "rx", "de"):
            if port and config[key] is not None:
                raise ConfigError("%s.%s" % (config["id"], key), config[key], "none with port")

    async def start(self):
        """Open the line, or join those who use it. Raises ``DriverError``."""
        config = self.config
        self.join(config["port"] or config["uart"], RtuBus)
        if self.bus.line != _line(config):
            await self.stop()
            raise DriverError("line is in use with other settings")


def _line(config):
    return [config[key] for key in _LINE]


def _open(config):
    """``machine.UART``, or a port with the same methods, and the direction pin or None."""
    baudrate, stop = config["baudrate"], config["stop"]
    parity = {"none": None, "even": 0, "odd": 1}[config["parity"]]
    try:
        if config["port"]:
            from .modbus_port import Port

            return Port(config["port"], baudrate, parity, stop), None
        from machine import UART, Pin

        de = config["de"]
        if de is not None:
            de = Pin(de, Pin.OUT, value=0)
        pins = {key: config[key] for key in _LINE[:2] if config[key] is not None}
        pins.update(bits=8, parity=parity, stop=stop, timeout=0, rxbuf=_MOST)
        return UART(config["uart"], baudrate, **pins), de
    except (ImportError, OSError, ValueError) as error:
        raise DriverError("%s: %s" % (config["port"] or "uart", error))


class RtuBus:
    """A serial line; see ``Modbus`` for what a bus is. Raises ``DriverError`` if it is not there.

    ``echo``: whether it repeats what it sends; None until an answer has told.
    """

    def __init__(self, config):
        self.users = 0
        self.line = _line(config)
        self.echo = None
        self._config = config
        self._lock = asyncio.Lock()
        #: Of units whose answer may still come: the request (b"" for any), and until when.
        self._late = {}
        baudrate = config["baudrate"]
        bits = 9 + (config["parity"] != "none") + config["stop"]
        self._char_us = bits * 1000000 // baudrate
        # Ticks may be a millisecond short.
        self._gap_ms = 3 if baudrate > 19200 else 7 * self._char_us // 2000 + 2
        self._uart, self._de = _open(config)

    def close(self):
        """Give the line back."""
        if self._uart:
            self._uart.deinit()
            self._uart = None

    async def exchange(self, driver, function, address, word, data):
        """The PDU that answers a request. Raises ``RefusedError``, ``LinkError``."""
        unit = driver.config["unit"]
        frame = pack(">BBHH", unit, function, address, word)
        if data:
            frame += bytes((len(data),)) + data
        frame += pack("<H", crc16(frame))
        await self._out_of_date(driver, unit, frame)
        async with self._lock:
            try:
                return await self._talk(driver, frame)
            except OSError as error:
                self.close()
                raise LinkError(str(error))

    async def _out_of_date(self, driver, unit, frame):
        """Let the late answer to another request of the unit go by."""
        late = self._late.get(unit)
        if late and late[0] != frame:
            longest = 3 * driver.config["answer_ms"]
            await sleep_ms(max(0, min(longest, ticks_diff(late[1], ticks_ms()))))
            self._late.pop(unit, None)

    async def _talk(self, driver, frame):
        unit, function, address, word = unpack_from(">BBHH", frame)
        if function > 4 and self.echo is None:
            await self._learn(driver, unit, 1 if function in (5, 15) else 3, address)
        wait_ms = driver.config["answer_ms"]
        await self._silence(driver, wait_ms)
        # A second attempt may get the answer to the first one, and its own comes later.
        second = unit in self._late
        late = frame
        try:
            await self._send(frame)
            pdu = await self._receive(driver, frame, wait_ms)
            late = b"" if second else None
        except LinkError as error:
            if error.args[0] not in ("timeout", "wrong unit"):
                late = None  # it did come
            raise
        finally:
            self._late.pop(unit, None)
            if late is not None:
                self._late[unit] = late, ticks_add(ticks_ms(), (2 if late else 3) * wait_ms)
        check(pdu, function, address, word)
        return pdu

    async def _learn(self, driver, unit, function, address):
        """Find out whether there is an echo, which a write's answer could not be told from."""
        frame = pack(">BBHH", unit, function, address, 1)
        try:
            await self._talk(driver, frame + pack("<H", crc16(frame)))
        except RefusedError:
            pass  # which is an answer as well

    async def _silence(self, driver, wait_ms):
        for _ in range(wait_ms // self._gap_ms + 2):
            await sleep_ms(self._gap_ms)
            data = self._take()
            if not data:
                return
            driver.count("stray bytes", len(data))
        raise LinkError("never silent")

    async def _send(self, frame):
        uart, de = self._uart, self._de
        busy_ms = len(frame) * self._char_us // 1000
        end = ticks_add(ticks_ms(), busy_ms + _BUFFERED_MS)
        if de:
            de(1)
        try:
            uart.write(frame)
            await sleep_ms(busy_ms)
            while de and not uart.txdone() and ticks_diff(end, ticks_ms()) > 0:
                pass
        finally:
            if de:
                de(0)

    def _take(self):
        """What has come in; a line that had failed is opened for that."""
        if not self.users:
            raise LinkError("closed")
        if not self._uart:
            self._uart, self._de = _open(self._config)
        n = self._uart.any()
        return (n and self._uart.read(n)) or b""

    async def _receive(self, driver, frame, wait_ms):
        size = _answer_size(frame)
        got = b""
        heard = ticks_ms()
        end = ticks_add(heard, wait_ms + size * self._char_us // 1000 + _BUFFERED_MS)
        while True:
            data = self._take()
            now = ticks_ms()
            start = self._behind_echo(frame, got + data)
            if data:
                heard = now
                got += data
                pdu = _find(got[start:], frame, size)
                if pdu:
                    driver.count("stray bytes", len(got) - start - len(pdu) - 3)
                    if frame[1] < 5:
                        self.echo = start > 0
                    return pdu
            missing = max(0, start + size - len(got))
            pause_ms = (missing + _BUFFERED) * self._char_us // 1000 + _BUFFERED_MS
            # Of another unit: the right one may still answer.
            begun = len(got) >= start + _LEAST and got[start] == frame[0]
            if (
                ticks_diff(end, now) <= 0
                or len(got) > _MOST
                or (begun and ticks_diff(now, heard) > pause_ms)
            ):
                raise LinkError(_failure(driver, got[start:], frame[0], size))
            await sleep_ms(max(1, min(missing, 8) * self._char_us // 1000))

    def _behind_echo(self, frame, got):
        """Where in what came in an answer may begin."""
        at = got.find(frame)
        if frame[1] < 5:
            return at + len(frame) if at >= 0 else 0
        if not self.echo:
            return 0
        return at + len(frame) if at >= 0 else len(got)


def _answer_size(frame):
    function, word = frame[1], frame[4] << 8 | frame[5]
    if function > 4:
        return 8
    return 5 + (2 * word if function > 2 else (word + 7) // 8)


def _find(data, frame, size):
    """The PDU of the first whole answer to a request in ``data``; None if there is none."""
    unit, function = frame[0], frame[1]
    for at in range(len(data) - _LEAST + 1):
        if data[at] == unit and data[at + 1] & 0x7F == function:
            end = at + (size if data[at + 1] == function else _LEAST)
            if end <= len(data) and not crc16(data[at:end]):
                return data[at + 1 : end - 2]
    return None


def _failure(driver, data, unit, size):
    """Why ``data`` is no answer."""
    if len(data) < _LEAST:
        driver.count("stray bytes", len(data))
        return "timeout"
    if data[0] != unit:
        return "wrong unit"
    if len(data) != (_LEAST if data[1] > 127 else size):
        return "wrong length"
    return "bad crc" if crc16(data) else "bad answer"


driver = ModbusRtu
