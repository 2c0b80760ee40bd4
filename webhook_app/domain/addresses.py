"""Which IP addresses may be reached from here. Pure: names and sockets are the guard's business."""

import ipaddress

# Written out instead of asking `is_global`: its answers changed between Python releases.
REFUSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this network"; 0.0.0.0 reaches the own host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and a cloud's metadata at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent: public by registry, private in truth
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments, and a cloud's metadata at 192.0.0.192
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

# Global unicast is 2000::/3. Everything outside is refused by that alone: ::1, ::, IPv4-mapped and -compatible,
# NAT64 (64:ff9b::/96), fc00::/7, fe80::/10, fec0::/10, ff00::/8.
UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
REFUSED_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo (2001::/32) among them
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries an IPv4 address
        "2620:4f:8000::/48",
        "3ffe::/16",  # the old 6bone
        "3fff::/20",
    )
)
# RFC 5214: an interface identifier that carries an IPv4 address, with the universal bit clear or set.
ISATAP_MARKS = frozenset({0x00005EFE, 0x02005EFE})


def may_reach(address: str) -> bool:
    """True for a public unicast address. Anything else is refused, text that is no address at all included."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in REFUSED_V4)
    return _may_reach_v6(ip)


def _may_reach_v6(ip: ipaddress.IPv6Address) -> bool:
    if ip.scope_id is not None or ip not in UNICAST_V6:
        return False
    if (int(ip) >> 32) & 0xFFFFFFFF in ISATAP_MARKS:
        return False
    return not any(ip in network for network in REFUSED_V6)
