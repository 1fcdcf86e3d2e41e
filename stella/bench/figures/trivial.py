"""How long a trivial command takes at root level, where host services live: run by path under the system's Python.

Prints ``name seconds`` after each. The commands are rare enough not to be a load themselves.
"""

import os
import subprocess
import sys
import time

COMMANDS = {"true": ["/bin/true"], "python": ["/usr/bin/python3", "-I", "-S", "-c", "pass"]}
PYTHON_EVERY = 4


def main() -> None:
    """Run commands for ever, ``argv[1]`` seconds apart."""
    pause, count = float(sys.argv[1]), 0
    environment = {"PATH": "/usr/bin:/bin"}
    while os.getppid() != 1:
        name = "python" if count % PYTHON_EVERY == PYTHON_EVERY - 1 else "true"
        began = time.monotonic()
        subprocess.run(COMMANDS[name], check=False, stdin=subprocess.DEVNULL, env=environment)
        print(f"{name} {time.monotonic() - began:.6f}", flush=True)
        count += 1
        time.sleep(pause)


if __name__ == "__main__":
    main()
