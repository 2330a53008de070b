/*
 * addr - socket addresses, IPv4, IPv6 and Unix: parse, print, compare, mask.
 */
#ifndef PREFORKD_BASE_ADDR_H
#define PREFORKD_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct addr {
    socklen_t len; /* bytes in use; 0: no address */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
};

/* Room for any address that addr_print writes: "unix:" and 107 bytes, or "[IPv6]:port". */
enum { ADDR_TEXT = 128 };

/* The longest path of a Unix socket, without its NUL (unix(7): sun_path). */
enum { ADDR_PATH_MAX = sizeof((struct sockaddr_un *)0)->sun_path - 1 };

/* An IP address as a number, to compare and mask. IPv4 fills the lower 32 bits. */
struct addr_number {
    uint64_t high, low;
    int family; /* AF_INET or AF_INET6 */
};

/* Reads a numeric IPv4 or IPv6 address without brackets. False if `ip` is not one. */
bool addr_from_ip(struct addr *addr, const char *ip, unsigned port);

/* The wildcard address of AF_INET or AF_INET6. */
void addr_any(struct addr *addr, int family, unsigned port);

/* A Unix socket: a path, or "@NAME" for an abstract one. False if `path` is empty or too long. */
bool addr_from_path(struct addr *addr, const char *path);

/* The port of an IP address in host order; 0 for a Unix socket. */
unsigned addr_port(const struct addr *addr);

bool addr_is_any(const struct addr *addr); /* 0.0.0.0 or :: */
bool addr_is_abstract(const struct addr *addr);
bool addr_equal(const struct addr *a, const struct addr *b); /* family, address and port */

/* The number of an IP address. An IPv4 address mapped into IPv6 becomes IPv4. False for other
 * families. */
bool addr_number(const struct addr *addr, struct addr_number *number);

/* An IP address from its bytes in network order: 4 for AF_INET, 16 for AF_INET6. */
void addr_from_bytes(struct addr *addr, int family, const uint8_t *ip, unsigned port);

/* Keeps the first `bits` bits and clears the others. */
struct addr_number addr_mask(struct addr_number number, int bits);

/* Orders numbers of one family: below 0, 0 or above 0. */
static inline int addr_compare(const struct addr_number *a, const struct addr_number *b)
{
    if (a->high != b->high)
        return a->high < b->high ? -1 : 1;
    return (a->low > b->low) - (a->low < b->low);
}

/* Writes "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock", "unix:@name", or "unix" if the socket has
 * no name. An IPv4 address mapped into IPv6 is written as IPv4, control characters as \xNN. */
const char *addr_print(const struct addr *addr, char text[static ADDR_TEXT]);

/* The same for a peer: without blanks, quotes and backslashes, also as \xNN; and with a numeric
 * zone, "[fe80::1%2]:80". Looking up the zone's name takes a socket, and the worker's list of
 * system calls may forbid opening one. */
const char *addr_print_peer(const struct addr *addr, char text[static ADDR_TEXT]);

/* Writes an IP address without zone, port and closing NUL: "127.0.0.1", "::1"; nothing for a Unix
 * socket. Returns the end of the text, before at + ADDR_IP_MAX. */
enum { ADDR_IP_MAX = INET6_ADDRSTRLEN };
char *addr_put_ip(char *at, const struct addr *addr);

/* Writes a Unix socket's raw path, or "@name" up to its first NUL, without a closing NUL. Returns
 * the end of the text, at most at + ADDR_PATH_MAX + 1; `at` itself if the socket has no name. */
char *addr_put_path(char *at, const struct addr *addr);

#endif
