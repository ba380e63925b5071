"""How the calls of a process prove who makes them: by a bearer token and a TLS certificate."""

import re
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import grpc

from shared.auth import files
from shared.config import ClientSecurity, ConfigError
from shared.grpc import tls

_CHECK_SECONDS = 5.0
# A server refuses a longer header (shared/auth/authenticator.py).
_LONGEST_TOKEN = 8 * 1024 - len("Bearer ")
_TOKEN = re.compile(r"[!-~]+")


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
        self.token = ""
        self.headers: tuple[tuple[str, str], ...] = ()
        """The headers of every call."""
        self.credentials = tls.client_credentials(self._config)
        """TLS for new channels; None: without TLS."""
        self._read_token()

    def channel(self, target: str, options: Sequence[tuple[str, int | str]] = ()) -> grpc.aio.Channel:
        """A new channel to the target, with TLS if the config has it."""
        if self.credentials is None:
            return grpc.aio.insecure_channel(target, options=options)
        return grpc.aio.secure_channel(target, self.credentials, options=options)

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
                self.credentials = tls.client_credentials(self._config)
                self.generation += 1
        except ConfigError:
            return  # read again at the next look
        self._stamps = now

    def _read_token(self) -> None:
        """ConfigError when there is no token where the config names one."""
        variable, token = "BRAIN2_TOKEN", self._config.token
        if self._token_files:
            variable = f"BRAIN2_TOKEN_FILE: {self._token_files[0]}"
            try:
                with Path(self._token_files[0]).open("rb") as opened:
                    token = opened.read(_LONGEST_TOKEN + 2).decode("ascii").strip()
            except OSError as error:
                raise ConfigError([f"{variable} can't be read: {error.strerror}"]) from None
            except UnicodeDecodeError:
                raise ConfigError([f"{variable} does not hold a token, but other characters than ASCII"]) from None
            if not token:
                raise ConfigError([f"{variable} is empty"])
        # What gRPC would refuse at each call, with an error that doesn't name the cause.
        if token and (len(token) > _LONGEST_TOKEN or not _TOKEN.fullmatch(token)):
            raise ConfigError(
                [f"{variable}: a token has at most {_LONGEST_TOKEN} visible characters of ASCII, without spaces"]
            )
        self.token = token
        self.headers = (("authorization", f"Bearer {token}"),) if token else ()

    def _all_stamps(self) -> tuple[files.Stamp, files.Stamp]:
        return files.stamp(self._token_files), files.stamp(self._tls_files)
