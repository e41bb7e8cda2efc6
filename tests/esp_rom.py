"""A stand-in for the bootloader of an ESP32 behind a pseudo terminal, which esptool writes to.

It speaks what esptool says to the ROM and then to its stub (Espressif, "Serial Protocol"):
SLIP frames, of which each request gets an answer with the same number. Registers read as 0 but
for those that name the chip, its crystal and its flash.
"""

import hashlib
import os
import pty
import select
import struct
import threading
import tty
import zlib

END, ESCAPE = 0xC0, 0xDB
MEM_END, SYNC, READ_REG, DEFLATE_BEGIN, DEFLATE_DATA, MD5, ERASE = 6, 8, 10, 16, 17, 19, 0xD0
#: Which chip, UART clock divider of a 40 MHz crystal, JEDEC id of a flash of 4 MiB.
REGISTERS = {0x40001000: 0x00F01D83, 0x3FF40014: 347, 0x3FF42080: 0x164020}
FLASH_BYTES = 4 << 20
#: A ROM answers the synchronization with some value, a stub that runs already with 0.
ROM = 1


class EspRom:
    """``with EspRom() as rom:`` — ``rom.path`` is its serial device, ``rom.flash`` its flash."""

    def __enter__(self):
        self.flash = bytearray(b"\0" * FLASH_BYTES)
        self.erased = False
        self._status = bytes(4)  # the ROM's answers end with 4 bytes, the stub's with 2
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._stop.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _serve(self):
        pending = bytearray()
        while not self._stop.is_set():
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            pending += os.read(self._master, 65536)
            while pending.count(END) > 1:
                frame, _, rest = pending.lstrip(b"\xc0").partition(b"\xc0")
                pending[:] = rest
                self._answer(frame.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb"))

    def _answer(self, frame):
        _, number, size, _ = struct.unpack_from("<BBHI", frame)
        value, data = self._do(number, frame[8 : 8 + size])
        data += self._status
        for _ in range(8 if number == SYNC else 1):
            self._send(struct.pack("<BBHI", 1, number, len(data), value) + data)
        if number == MEM_END:  # the stub runs
            self._status = bytes(2)
            self._send(b"OHAI")

    def _do(self, number, data):
        if number == READ_REG:
            return REGISTERS.get(struct.unpack("<I", data)[0], 0), b""
        if number == DEFLATE_BEGIN:
            (self._at,) = struct.unpack_from("<I", data, 12)
            self._inflate = zlib.decompressobj()
        elif number == DEFLATE_DATA:
            content = self._inflate.decompress(data[16:])
            self.flash[self._at : self._at + len(content)] = content
            self._at += len(content)
        elif number == ERASE:
            self.flash[:] = b"\xff" * FLASH_BYTES
            self.erased = True
        elif number == MD5:
            start, size = struct.unpack_from("<II", data)
            return 0, hashlib.md5(self.flash[start : start + size]).digest()
        return (ROM if number == SYNC else 0), b""

    def _send(self, data):
        data = data.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        os.write(self._master, b"\xc0" + data + b"\xc0")
