"""What a log must not have in it."""

import re

from server import MASTER_KEY

# Participant tokens, stream keys, webhooks' secrets, ICE passwords in SDP, the master key: each has a form that nothing else
# has.
SECRETS = [
    re.compile(r"eyJ[\w-]{20,}\.[\w-]{20,}\.[\w-]{20,}"),
    re.compile(r"rt_\d{12}_[a-z0-9-]+_[A-Za-z0-9]{12}_[A-Za-z0-9]{30}"),
    re.compile(r"ice-pwd:[A-Za-z0-9+/]{22}"),
    re.compile(r"whsec_[A-Za-z0-9+/]{32}"),
    re.compile(re.escape(MASTER_KEY)),
]


def assert_no_secret(log):
    for secret in SECRETS:
        found = secret.search(log)
        assert not found, f"the log has a secret: {found.string[max(0, found.start() - 300) : found.end()]}"
