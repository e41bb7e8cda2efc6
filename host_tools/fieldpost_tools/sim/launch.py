"""Start a program as the owner of the terminal it was given: ``python launch.py PROGRAM ARGS``.

Runs in the child, already in a session of its own, with the terminal on stdin. Making that its
controlling terminal is what ends the program when the process that holds the other end dies,
however it dies: the kernel hangs the terminal up. SIGHUP may come in ignored (nohup), so it is
set back.

``python launch.py --rom IMAGE MODULE ARGS`` runs MicroPython in this process instead, with the
file IMAGE in its memory where a board has its flash: ``MODULE`` is the extension module that
holds the interpreter, which gets the address and the length of the image as last arguments.
"""

import ctypes
import fcntl
import importlib.util
import mmap
import os
import signal
import sys
import termios


def run_with_rom(image, module, arguments):
    """Run MicroPython; returns its exit code."""
    with open(image, "r+b") as file:
        flash = mmap.mmap(file.fileno(), 0)  # shared: what is written there stays
    place = ctypes.addressof(ctypes.c_char.from_buffer(flash)), len(flash)
    spec = importlib.util.spec_from_file_location("micropython_run", module)
    interpreter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(interpreter)
    return interpreter.run_main(["micropython", *arguments, *map(str, place)])


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if sys.argv[1] == "--rom":
        sys.exit(run_with_rom(sys.argv[2], sys.argv[3], sys.argv[4:]))
    os.execv(sys.argv[1], sys.argv[1:])
