"""How the calls of a process prove who makes them: by a bearer token and a TLS certificate."""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import grpc

from shared.auth import files
from shared.config import ClientSecurity, ConfigError
from shared.grpc import tls

_CHECK_SECONDS = 5.0


class Outgoing:
    """The identity of the calls that a process makes. ConfigError when a file is missing or wrong at the start."""

    def __init__(self, config: ClientSecurity | None = None) -> None:
        self._config = config or ClientSecurity()
        self._token_files = [self._config.token_file] if self._config.token_file else []
        self._tls_files = tls.client_files(self._config)
        self._stamps = self._all_stamps()
        self._checked = monotonic()
        self.generation = 0
        """Rises when the TLS files have changed: channels must be made anew."""
        self.headers: tuple[tuple[str, str], ...] = ()
        """The headers of every call."""
        self._credentials = tls.client_credentials(self._config)
        try:
            self._read_token()
        except OSError as error:
            raise ConfigError([f"BRAIN2_TOKEN_FILE: can't be read: {error.strerror}"]) from None

    def channel(self, target: str, options: Sequence[tuple[str, int | str]] = ()) -> grpc.aio.Channel:
        """A new channel to the target, with TLS if the config has it."""
        if self._credentials is None:
            return grpc.aio.insecure_channel(target, options=options)
        return grpc.aio.secure_channel(target, self._credentials, options=options)

    def refresh(self) -> None:
        """Read the files again if they have changed; called before each call, it looks every 5 s at most."""
        if not self._token_files and not self._tls_files:
            return
        now = monotonic()
        if now - self._checked < _CHECK_SECONDS:
            return
        self._checked = now
        self.reload()

    def reload(self) -> None:
        """Read the files again if they have changed. While one can't be used, the former content stays in use."""
        before, now = self._stamps, self._all_stamps()
        if before == now:
            return
        try:
            if now[0] != before[0]:
                self._read_token()
            if now[1] != before[1]:
                self._credentials = tls.client_credentials(self._config)
                self.generation += 1
        except (OSError, ConfigError):
            return  # read again at the next look
        self._stamps = now

    def _read_token(self) -> None:
        token = self._config.token
        if self._token_files:
            token = Path(self._token_files[0]).read_text(encoding="ascii").strip()
        self.headers = (("authorization", f"Bearer {token}"),) if token else ()

    def _all_stamps(self) -> tuple[files.Stamp, files.Stamp]:
        return files.stamp(self._token_files), files.stamp(self._tls_files)
