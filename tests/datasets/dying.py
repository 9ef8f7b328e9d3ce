"""A process that a damaged file ends, as it can end scipy's."""

import os
import signal

if __name__ == "__main__":
    os.kill(os.getpid(), signal.SIGSEGV)
