"""What a durable log costs: on littlefs in RAM, in simulated time, until its flash is full.

JSON on stdin: ``row`` (a validated subscription), ``blocks`` of 4 KiB. Prints what was recorded,
what the flash had to do for it, and the microseconds that recording, opening and draining took.
"""

import gc
import json
import sys
import time

from flash_kit import Flash

from fieldpost.clock import Clock
from fieldpost.compat import ticks_add
from fieldpost.log import Log
from fieldpost.smallfile import make_folder

FOLDER = "/flash/logs/default"
#: Ten points, each read once a second; a flush takes so many records.
POINTS, BATCH = 10, 100
UNIX_MS = 1732233600123
OPENINGS = 5
#: How people log to a file: records of so many bytes, each of them flushed.
NAIVE_BYTES, NAIVE_RECORDS = 32, 500


class Ticks:
    """Ticks that are moved by hand."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


class Cursor:
    """A reader that confirms when it is told to."""

    name = "collector"
    ack_timeouts = 0

    def __init__(self, log):
        self.log = log
        self.acked = self.owed = log.start(self.name)
        log.cursors.append(self)

    def paused_ms(self):
        """It is not paused."""

    def ack(self, index):
        """Confirm what is before ``index``."""
        self.acked = self.owed = index
        self.log.released(self)


class Bench:
    """A log as a node makes it from a subscription's row."""

    def __init__(self, row, blocks):
        self.row = row
        self.flash = Flash(blocks)
        self.flash.format()
        self.flash.mount()
        make_folder(FOLDER)
        self.ticks = Ticks()
        self.clock = Clock(epoch_year=1970, ticks=self.ticks)
        self.clock.set_unix_ms(UNIX_MS, "bench")
        self.streams = 0
        self.log = self.open()

    def open(self):
        """The log, as after a restart."""
        row = self.row
        shape = row["ring_bytes"], self.clock, self.stream, 1, row["frame_bytes"], row["overflow"]
        return Log(FOLDER, row["store"], *shape)

    def stream(self):
        """A new stream number."""
        self.streams += 1
        return self.streams

    def second(self):
        """Record for a second, then what a node does once a second."""
        log = self.log
        for point in range(POINTS):
            log.append(point + 1, 20 + (self.ticks.now // 1000 + point) % 64 / 8)
        self.ticks.now = ticks_add(self.ticks.now, 1000)
        log.tend()

    def record(self):
        """Until the flash is full, and as long again; nobody confirms. Returns microseconds."""
        Cursor(self.log)
        gc.collect()
        start = time.ticks_us()
        while not self.log.dropped:
            self.second()
        for _ in range(self.log.next // POINTS):
            self.second()
        return time.ticks_diff(time.ticks_us(), start)

    def record_bytes(self):
        """Mean size of the records that are kept, without any header."""
        reader = self.log.reader(self.log.oldest)
        size = count = 0
        header = reader.open()
        while header:
            size += header.length
            count += header.count
            reader.seek(reader.index + header.count)
            header = reader.open()
        return size / count

    def opening(self):
        """Open it again, several times; microseconds of the median."""
        times = []
        for _ in range(OPENINGS):
            self.log = None
            gc.collect()
            start = time.ticks_us()
            self.log = self.open()
            times.append(time.ticks_diff(time.ticks_us(), start))
        return sorted(times)[OPENINGS // 2]

    def drain(self):
        """Read it all in batches, each confirmed at once: ``(records, microseconds)``."""
        log = self.log
        cursor = Cursor(log)
        reader = log.reader(cursor.acked)
        out = bytearray(4096)
        first = log.oldest
        start = time.ticks_us()
        while reader.pack(out, 0, len(out), BATCH)[0]:
            cursor.ack(reader.index)
            if reader.index % (50 * BATCH) == 0:
                log.tend()
        return reader.index - first, time.ticks_diff(time.ticks_us(), start)


def naive(blocks):
    """Bytes programmed by a file that is flushed for each record, by byte."""
    flash = Flash(blocks)
    flash.format()
    flash.mount("/naive")
    before = flash.programmed
    with open("/naive/log", "wb") as file:
        for _ in range(NAIVE_RECORDS):
            file.write(bytes(NAIVE_BYTES))
            file.flush()
    flash.unmount("/naive")
    return (flash.programmed - before) / (NAIVE_BYTES * NAIVE_RECORDS)


def main(row, blocks):
    """Everything measured."""
    bench = Bench(row, blocks)
    flash = bench.flash
    programmed, erases = flash.programmed, flash.erases
    result = {"record_us": bench.record()}
    log = bench.log
    result["recorded"] = log.next
    result["stored_bytes"] = log.stored * bench.record_bytes()
    result["programmed"] = flash.programmed - programmed
    result["erases"] = flash.erases - erases
    result["log"] = log.flash
    result["dropped"] = log.dropped
    log = None
    result["open_us"] = bench.opening()
    result["kept_bytes"] = len(bench.log.segments) * row["store"]["segment"]
    result["drained"], result["drain_us"] = bench.drain()
    result["errors"] = bench.log.flash["errors"]
    flash.unmount()
    result["naive_amplification"] = naive(blocks)
    return result


print(json.dumps(main(**json.load(sys.stdin))))
