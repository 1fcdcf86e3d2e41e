"""Runs the named tests as testtools does, with Nova's threading settled before anything else is imported."""

from nova import monkey_patch

monkey_patch.patch()

import sys  # noqa: E402

from testtools import run  # noqa: E402

if __name__ == "__main__":
    run.main(sys.argv, sys.stdout)
