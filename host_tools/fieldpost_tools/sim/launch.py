"""Start a program as the owner of the terminal it was given: ``python launch.py PROGRAM ARGS``.

Runs in the child, already in a session of its own, with the terminal on stdin. Making that its
controlling terminal is what ends the program when the process that holds the other end dies,
however it dies: the kernel hangs the terminal up. SIGHUP may come in ignored (nohup), so it is
set back.
"""

import fcntl
import os
import signal
import sys
import termios

if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execv(sys.argv[1], sys.argv[1:])
