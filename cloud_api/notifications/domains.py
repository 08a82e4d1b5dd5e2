"""The domain of a mail address as the mail system knows it: in ASCII, by the rules that registries go by today.

Those of 2003, which the standard library has, write another domain for some: `straße.de` would be `strasse.de`, whose owner is
somebody else.
"""

import idna


def ascii_domain(domain: str) -> str:
    """In small letters.

    Raises:
        UnicodeError: there can be no such domain.
    """
    # UTS 46 maps what people type (capital letters, full-width dots) and nothing that has a domain of its own.
    return idna.encode(domain, uts46=True).decode("ascii").lower()
