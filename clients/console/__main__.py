"""Runs the console: `python -m clients.console --listen 127.0.0.1:50080 --node host:port ...`."""

import sys

import uvicorn

from clients.console.app import build
from clients.console.config import ConfigError, load
from clients.console.protocol import HeadTimeout


def main(argv: list[str]) -> int:
    try:
        config = load(argv)
        app = build(config)
    except (ConfigError, OSError) as error:
        print(f"console: {error}", file=sys.stderr)
        return 2
    uvicorn.run(
        app,
        host=config.host,
        port=config.port,
        http=HeadTimeout,
        ssl_certfile=config.certificate,
        ssl_keyfile=config.key,
        log_level="warning",
        server_header=False,
        # A stream that has no end must not keep the process from stopping.
        timeout_graceful_shutdown=3,
        limit_concurrency=512,
        h11_max_incomplete_event_size=64 * 1024,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
