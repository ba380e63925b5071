"""Starts a service for the chaos run: `python -m tests.chaos.entry SERVICE [BUG]`.

The queues' addresses are turned to the proxy. With a bug it is planted in this process before the service's own main
runs; production code has no switch for any of this.
"""

import faulthandler
import os
import runpy
import sys
from urllib.parse import urlsplit, urlunsplit

from tests.chaos import planted


def main(service: str, bug: str = "") -> None:
    faulthandler.enable()  # one that hangs is ended by SIGABRT, and then says where
    proxy = urlsplit(os.environ["SQS_ENDPOINT"])
    for name in ("BRAIN2_QUEUE_URL", "BRAIN2_DLQ_URL"):
        if os.environ.get(name):
            given = urlsplit(os.environ[name])
            os.environ[name] = urlunsplit((proxy.scheme, proxy.netloc, given.path, given.query, given.fragment))
    if bug:
        planted.plant(bug, service)
    sys.argv = [f"services.{service}_service"]
    runpy.run_module(f"services.{service}_service", run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
