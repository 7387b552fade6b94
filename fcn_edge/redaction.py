"""What may be shown of an address, and of any text that holds one: never a user, a password or a token."""

from __future__ import annotations

import re

SECRET_WORDS = "pass|pwd|pw|token|key|secret|auth|sig|user"
# Of the network: any SCHEME:// but those of this machine, and the usual ones where a slash was forgotten.
SCHEME = r"(?<![a-z0-9+.-])(?!(?:file|v4l2|csi|display):)(?:[a-z][a-z0-9+.-]*://|(?:rtsps?|https?):/?)"
NEXT = rf"[\s\"'(\[,]{SCHEME}"  # where another address begins in the same text
CREDENTIALS = re.compile(rf"({SCHEME})(?:(?!{NEXT}).)*@", re.IGNORECASE | re.DOTALL)
NAMED = re.compile(
    rf"((?:^|[?&;\s])[\w-]*(?:{SECRET_WORDS})[\w-]*\s*=\s*)(?:\"[^\"]*\"|'[^']*'|[^&\s]+)", re.IGNORECASE
)


def redacted(text: str) -> str:
    """`text` as it may be printed: in addresses of the network, users, passwords and tokens become ***.

    All that stands before the last @ counts as a credential, since passwords with / or @ in them are often
    typed as they are: hiding too much is the safe mistake.
    """
    text, found = CREDENTIALS.subn(r"\1***@", text)
    is_address = found or text.startswith("gst:") or re.search(SCHEME, text, re.IGNORECASE)
    return NAMED.sub(r"\1***", text) if is_address else text
