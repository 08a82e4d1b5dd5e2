"""Addresses as they are counted and shown: one spelling of each, and no finer than what a customer has."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_in(text: str) -> Address | None:
    """Also with a port, which some proxies write (`192.0.2.7:443`, `[2001:db8::1]:443`); None where there is none: a unix socket."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        return found.ipv4_mapped
    return found


def counted_network(address: str) -> str:
    """What one customer has: an IPv4 address, or the /64 that IPv6 gives to each household."""
    return _shortened(address, v4=32, v6=64)


def shown_network(address: str) -> str:
    """Where a session was, as far as it is kept: enough to recognise one's own, too little to be found by it."""
    return _shortened(address, v4=24, v6=48)


def _shortened(address: str, *, v4: int, v6: int) -> str:
    found = address_in(address)
    if found is None:
        return "unknown"
    bits = v4 if found.version == 4 else v6
    return str(ipaddress.ip_network((found, bits), strict=False))
