#include "addr.h"

#include "units.h"

#include <arpa/inet.h>
#include <endian.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

enum { PATH_OFFSET = offsetof(struct sockaddr_un, sun_path) };

static void set_in(struct addr *addr, struct in_addr ip, unsigned port)
{
    *addr = (struct addr){.len = sizeof addr->in};
    addr->in.sin_family = AF_INET;
    addr->in.sin_addr = ip;
    addr->in.sin_port = htons((in_port_t)port);
}

static void set_in6(struct addr *addr, struct in6_addr ip, unsigned port, unsigned scope)
{
    *addr = (struct addr){.len = sizeof addr->in6};
    addr->in6.sin6_family = AF_INET6;
    addr->in6.sin6_addr = ip;
    addr->in6.sin6_port = htons((in_port_t)port);
    addr->in6.sin6_scope_id = scope;
}

/* An IPv6 address with a zone, "fe80::1%eth0". A link-local address can't be bound without one. The
 * kernel ignores the zone of any other address, so "::1%lo" is "::1". */
static bool from_zoned(struct addr *addr, const char *ip, const char *percent, unsigned port)
{
    char bare[INET6_ADDRSTRLEN];
    size_t length = (size_t)(percent - ip);
    struct in6_addr in6;
    unsigned scope = if_nametoindex(percent + 1);
    if (length >= sizeof bare || scope == 0)
        return false;
    memcpy(bare, ip, length);
    bare[length] = '\0';
    if (inet_pton(AF_INET6, bare, &in6) != 1)
        return false;
    set_in6(addr, in6, port, IN6_IS_ADDR_LINKLOCAL(&in6) ? scope : 0);
    return true;
}

bool addr_from_ip(struct addr *addr, const char *ip, unsigned port)
{
    struct in_addr in;
    struct in6_addr in6;
    const char *percent = strchr(ip, '%');
    if (percent)
        return from_zoned(addr, ip, percent, port);
    if (inet_pton(AF_INET, ip, &in) == 1)
        set_in(addr, in, port);
    else if (inet_pton(AF_INET6, ip, &in6) == 1)
        set_in6(addr, in6, port, 0);
    else
        return false;
    return true;
}

void addr_any(struct addr *addr, int family, unsigned port)
{
    if (family == AF_INET6)
        set_in6(addr, in6addr_any, port, 0);
    else
        set_in(addr, (struct in_addr){.s_addr = htonl(INADDR_ANY)}, port);
}

bool addr_from_path(struct addr *addr, const char *path)
{
    size_t length = strlen(path);
    bool abstract = path[0] == '@';
    if (length == 0 || length > ADDR_PATH_MAX || (abstract && length == 1))
        return false;
    *addr = (struct addr){.len = (socklen_t)(PATH_OFFSET + length + (abstract ? 0 : 1))};
    addr->un.sun_family = AF_UNIX;
    memcpy(addr->un.sun_path, path, length);
    if (abstract)
        addr->un.sun_path[0] = '\0';
    return true;
}

unsigned addr_port(const struct addr *addr)
{
    if (addr->len && addr->sa.sa_family == AF_INET)
        return ntohs(addr->in.sin_port);
    if (addr->len && addr->sa.sa_family == AF_INET6)
        return ntohs(addr->in6.sin6_port);
    return 0;
}

bool addr_is_any(const struct addr *addr)
{
    if (addr->len && addr->sa.sa_family == AF_INET)
        return addr->in.sin_addr.s_addr == htonl(INADDR_ANY);
    if (addr->len && addr->sa.sa_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&addr->in6.sin6_addr);
    return false;
}

void addr_from_bytes(struct addr *addr, int family, const uint8_t *ip, unsigned port)
{
    struct in_addr in;
    struct in6_addr in6;
    if (family == AF_INET6) {
        memcpy(&in6, ip, sizeof in6);
        set_in6(addr, in6, port, 0);
    } else {
        memcpy(&in, ip, sizeof in);
        set_in(addr, in, port);
    }
}

bool addr_number(const struct addr *addr, struct addr_number *number)
{
    uint64_t halves[2];
    if (addr->len && addr->sa.sa_family == AF_INET) {
        *number = (struct addr_number){.low = ntohl(addr->in.sin_addr.s_addr), .family = AF_INET};
        return true;
    }
    if (!addr->len || addr->sa.sa_family != AF_INET6)
        return false;
    memcpy(halves, &addr->in6.sin6_addr, sizeof halves);
    *number = (struct addr_number){be64toh(halves[0]), be64toh(halves[1]), AF_INET6};
    if (IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr))
        *number = (struct addr_number){.low = (uint32_t)number->low, .family = AF_INET};
    return true;
}

/* A mask of the upper `bits` of 64. */
static uint64_t upper(int bits)
{
    if (bits <= 0)
        return 0;
    return bits >= 64 ? UINT64_MAX : ~(UINT64_MAX >> bits);
}

struct addr_number addr_mask(struct addr_number number, int bits)
{
    if (number.family == AF_INET)
        bits += 96;
    number.high &= upper(bits);
    number.low &= upper(bits - 64);
    return number;
}

/* The length of a Unix address's name, without the NUL that may close a path, with the NUL that
 * opens an abstract name. 0: no name. */
static size_t name_length(const struct addr *addr)
{
    if (addr->len <= PATH_OFFSET)
        return 0;
    size_t length = addr->len - PATH_OFFSET;
    if (length > sizeof addr->un.sun_path)
        length = sizeof addr->un.sun_path;
    if (addr->un.sun_path[0] == '\0')
        return length;
    return strnlen(addr->un.sun_path, length);
}

bool addr_is_abstract(const struct addr *addr)
{
    return addr->len && addr->sa.sa_family == AF_UNIX && name_length(addr) > 0 &&
           addr->un.sun_path[0] == '\0';
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    if (a->len == 0 || b->len == 0)
        return a->len == b->len;
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_UNIX)
        return name_length(a) == name_length(b) &&
               memcmp(a->un.sun_path, b->un.sun_path, name_length(a)) == 0;
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_port == b->in.sin_port && a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    return a->sa.sa_family == AF_INET6 && a->in6.sin6_port == b->in6.sin6_port &&
           a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
           IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr);
}

char *addr_put_path(char *at, const struct addr *addr)
{
    size_t length = addr->len && addr->sa.sa_family == AF_UNIX ? name_length(addr) : 0;
    if (length == 0)
        return at;
    memcpy(at, addr->un.sun_path, length);
    if (at[0] == '\0')
        at[0] = '@';
    return at + strnlen(at, length);
}

/* Whose address is written. A peer chooses the name of its own socket, which must not look like
 * several words in a line of the log. */
enum whose { OURS, PEERS };

static const char *print_unix(const struct addr *addr, char text[static ADDR_TEXT],
                              enum whose whose)
{
    size_t length = name_length(addr);
    size_t used = (size_t)snprintf(text, ADDR_TEXT, length ? "unix:" : "unix");
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)addr->un.sun_path[i];
        if (i == 0 && c == '\0')
            c = '@';
        bool plain = c >= 0x20 && c != 0x7f && !(whose == PEERS && strchr(" \"\\", c));
        if (used + (plain ? 1 : 4) >= ADDR_TEXT)
            break;
        used += (size_t)snprintf(text + used, ADDR_TEXT - used, plain ? "%c" : "\\x%02x", c);
    }
    return text;
}

static char *put_in(char *at, const uint8_t bytes[static 4])
{
    for (int i = 0; i < 4; i++) {
        at = digits_put(at, bytes[i], 10);
        *at++ = '.';
    }
    return at - 1;
}

enum { GROUPS = 8 };

/* Finds the longest run of at least two zero groups, the first one of equal length (RFC 5952, 4.2).
 * Returns its first group, or -1. */
static int longest_gap(const unsigned groups[static GROUPS], int *length)
{
    int best = -1;
    *length = 1;
    for (int i = 0; i < GROUPS; i++) {
        int end = i;
        while (end < GROUPS && groups[end] == 0)
            end++;
        if (end - i > *length) {
            best = i;
            *length = end - i;
        }
    }
    return best;
}

static char *put_in6(char *at, const struct in6_addr *ip)
{
    unsigned groups[GROUPS];
    int length;
    for (int i = 0; i < GROUPS; i++)
        groups[i] = (unsigned)ip->s6_addr[2 * i] << 8 | ip->s6_addr[2 * i + 1];
    int gap = longest_gap(groups, &length);
    for (int i = 0; i < GROUPS; i++) {
        if (i == gap) {
            *at++ = ':';
            i += length - 1;
            if (i == GROUPS - 1)
                *at++ = ':';
            continue;
        }
        if (i > 0)
            *at++ = ':';
        at = digits_put(at, groups[i], 16);
    }
    return at;
}

char *addr_put_ip(char *at, const struct addr *addr)
{
    if (addr->len && addr->sa.sa_family == AF_INET)
        return put_in(at, (const uint8_t *)&addr->in.sin_addr);
    if (!addr->len || addr->sa.sa_family != AF_INET6)
        return at;
    const struct in6_addr *ip = &addr->in6.sin6_addr;
    return IN6_IS_ADDR_V4MAPPED(ip) ? put_in(at, &ip->s6_addr[12]) : put_in6(at, ip);
}

static const char *print(const struct addr *addr, char text[static ADDR_TEXT], enum whose whose)
{
    char ip[ADDR_IP_MAX], name[IF_NAMESIZE] = "";
    text[0] = '\0';
    if (addr->len == 0)
        return text;
    if (addr->sa.sa_family == AF_UNIX)
        return print_unix(addr, text, whose);
    *addr_put_ip(ip, addr) = '\0';
    unsigned scope = addr->sa.sa_family == AF_INET6 ? addr->in6.sin6_scope_id : 0;
    if (scope && whose == PEERS)
        snprintf(name, sizeof name, "%u", scope);
    else if (scope)
        if_indextoname(scope, name);
    bool bracket = strchr(ip, ':') != NULL;
    snprintf(text, ADDR_TEXT, bracket ? "[%s%s%s]:%u" : "%s%s%s:%u", ip, name[0] ? "%" : "", name,
             addr_port(addr));
    return text;
}

const char *addr_print(const struct addr *addr, char text[static ADDR_TEXT])
{
    return print(addr, text, OURS);
}

const char *addr_print_peer(const struct addr *addr, char text[static ADDR_TEXT])
{
    return print(addr, text, PEERS);
}
