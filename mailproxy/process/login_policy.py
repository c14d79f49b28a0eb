"""From the settings of a protocol to what holds for every login."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from mailproxy.config.settings import LoginSettings
from mailproxy.ipc.auth_protocol import Mechanism
from mailproxy.session.policy import LoginProtocol, Policy


def make_policy(settings: LoginSettings, mechanisms: Sequence[Mechanism], has_tls: bool) -> Policy:
    """Compute what holds for every login.

    The master does so before it forks, for the mechanisms that it expects auth to announce: done in each
    child it would cost a process per connection half a MiB and as many page faults.
    """
    return Policy(
        LoginProtocol(settings.protocol),
        mechanisms,
        greeting=settings.login_greeting,
        greeting_capability=settings.login_greeting_capability,
        capability=settings.capability,
        disable_plaintext_auth=settings.disable_plaintext_auth,
        login_timeout_s=settings.login_timeout_s,
        proxy_timeout_s=settings.login_proxy_timeout_s,
        log_format_elements=settings.login_log_format_elements,
        log_format=settings.login_log_format,
        verbose=settings.auth_verbose,
        host_name=socket.gethostname(),
        trusted_networks=settings.login_trusted_networks,
        own_addresses=[(a.host, a.port) for a in (*settings.listen, *settings.ssl_listen)],
        max_reconnects=settings.login_proxy_max_reconnects,
        max_userip_connections=settings.mail_max_userip_connections,
        log_id="*" if settings.imap_id_log else "",
        tls_available=has_tls,
        tls_required=settings.tls.required,
    )
