"""`python -m services.cleanup_service`: runs the service. --help lists the environment variables that it reads.

`python -m services.cleanup_service reconcile --help`: reconciles users through a running service.

`python -m services.cleanup_service export --help`: prints what is stored of a user.

`python -m services.cleanup_service empty-caches` and `replay-erasures`: after a restore of the table.
"""

import sys
from collections.abc import Awaitable, Callable

from services.cleanup_service.adapters import command, export_command, restore_command
from services.cleanup_service.config import CleanupConfig
from shared import config
from shared.lifecycle import Lifecycle
from shared.workers import supervisor


def main() -> Callable[[Lifecycle], Awaitable[None]]:
    """The service. Imported here, because a supervisor doesn't need its code."""
    from services.cleanup_service.app import serve

    return serve


if __name__ == "__main__":
    if sys.argv[1:2] == ["reconcile"]:
        sys.exit(command.main(sys.argv[2:]))
    elif sys.argv[1:2] == ["export"]:
        sys.exit(export_command.main(sys.argv[2:]))
    elif sys.argv[1:2] in (["empty-caches"], ["replay-erasures"]):
        sys.exit(restore_command.main(sys.argv[1:]))
    elif "--help" in sys.argv:
        print(__doc__, config.describe(CleanupConfig), sep="\n\n")
    else:
        supervisor.run(CleanupConfig, "cleanup", main)
