"""What a board does for the host that provisions it; runs there, in the raw REPL, from RAM.

Nothing is trusted but what is read back: a file is written aside, hashed as it is on the flash,
and renamed. Paths are below ROOT. Results are printed as lines; memory stays bounded whatever
the flash holds.
"""
# ruff: noqa: T201, SIM115 - what it prints is the result; a file stays open over programs

import binascii
import hashlib
import os

ROOT = "/"
BLOCK = 512
NEW = ".new"

watchdog = None
file = None


def feed():
    """Feed the watchdog, if there is one."""
    if watchdog:
        watchdog.feed()


def take_watchdog(timeout):
    """Feed the one that the node had started: it would reset the board in the middle."""
    global watchdog
    from machine import WDT

    watchdog = WDT(timeout=timeout)


def blocks(path):
    """Yield a file piece by piece, in one buffer."""
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    with open(ROOT + path, "rb") as source:
        while True:
            count = source.readinto(buffer)
            if not count:
                return
            feed()
            yield view[:count]


def sha(path):
    """SHA-256 of a file, as hex."""
    digest = hashlib.sha256()
    for block in blocks(path):
        digest.update(block)
    return binascii.hexlify(digest.digest()).decode()


def size(path):
    """Bytes of a file; -1 for a folder, None for what is not there."""
    try:
        stat = os.stat(ROOT + path)
    except OSError:
        return None
    return -1 if stat[0] & 0x4000 else stat[6]


def tree(path):
    """Print every file and folder at and below a path: hash, bytes, path."""
    count = size(path)
    if count is None:
        return
    if count >= 0:
        print(sha(path), count, path)
        return
    print("-", 0, path)
    for name in os.listdir(ROOT + path):
        tree(path + "/" + name)


def read(path, head):
    """Print a file as hex; with ``head`` no more than the end of its first line takes."""
    if size(path) is not None:
        for block in blocks(path):
            print(binascii.hexlify(block).decode())
            if head and b"\n" in bytes(block):
                break


def make_folder(path):
    """Make the folders that a path is in."""
    at = path.find("/")
    while at >= 0:
        if size(path[:at]) is None:
            os.mkdir(ROOT + path[:at])
        at = path.find("/", at + 1)


def begin(path):
    """Start to write a file aside."""
    global file
    make_folder(path)
    file = open(ROOT + path + NEW, "wb")


def plain(text):
    """Write base64 to it."""
    file.write(binascii.a2b_base64(text))


def packed(text):
    """Write base64 of a deflated piece to it."""
    from io import BytesIO

    from deflate import RAW, DeflateIO

    file.write(DeflateIO(BytesIO(binascii.a2b_base64(text)), RAW, 10).read())


def end(path, wanted, keep):
    """Check it as it is on the flash, and rename it; with ``keep`` it stays aside."""
    file.close()
    feed()
    good = sha(path + NEW) == wanted
    if not good:
        os.remove(ROOT + path + NEW)
    elif not keep:
        os.rename(ROOT + path + NEW, ROOT + path)
    print("ok" if good else "bad")


def copy(source, path, wanted):
    """Copy a file on the board."""
    begin(path)
    for block in blocks(source):
        file.write(block)
    end(path, wanted, False)


def remove(path):
    """Remove a file or an empty folder, if it is there."""
    count = size(path)
    if count is not None:
        (os.rmdir if count < 0 else os.remove)(ROOT + path)


def commit(paths):
    """Let what was kept aside take its place, in this order."""
    for path in paths:
        if size(path + NEW) is not None:
            os.rename(ROOT + path + NEW, ROOT + path)


def rom_sha(count):
    """Print the hash of the first bytes of the ROMFS partition."""
    from vfs import rom_ioctl

    device = rom_ioctl(2, 0)
    digest = hashlib.sha256()
    for at in range(0, count, BLOCK):
        feed()
        length = min(BLOCK, count - at)
        if hasattr(device, "readblocks"):
            size = device.ioctl(5, 0)
            block = bytearray(length)
            device.readblocks(at // size, block, at % size)
        else:
            block = memoryview(device)[at : at + length]
        digest.update(block)
    print(binascii.hexlify(digest.digest()).decode())
