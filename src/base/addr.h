/*
 * addr - socket addresses of every family that preforkd listens on: parse, print, compare, mask.
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
    socklen_t len; /* bytes of the address in use; 0: none */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
};

/* Room for any address as addr_print writes it: "unix:" and 107 bytes, or "[IPv6]:port". */
enum { ADDR_TEXT = 128 };

/* The longest path of a Unix socket, its closing NUL not counted (unix(7): sun_path). */
enum { ADDR_PATH_MAX = sizeof((struct sockaddr_un *)0)->sun_path - 1 };

/* An IP address as a number, for comparing and masking: of IPv4 it fills the lower 32 bits. */
struct addr_number {
    uint64_t high, low;
    int family; /* AF_INET or AF_INET6 */
};

/* Reads a numeric IPv4 or IPv6 address without brackets. True if it is one. */
bool addr_from_ip(struct addr *addr, const char *ip, unsigned port);

/* The wildcard of a family, AF_INET or AF_INET6. */
void addr_any(struct addr *addr, int family, unsigned port);

/* A Unix socket: a path, or "@NAME" for an abstract one. False if it is empty or too long. */
bool addr_from_path(struct addr *addr, const char *path);

/* The port of an IP address, in host order; 0 of a Unix socket. */
unsigned addr_port(const struct addr *addr);

bool addr_is_any(const struct addr *addr); /* 0.0.0.0 or :: */
bool addr_is_abstract(const struct addr *addr);
bool addr_equal(const struct addr *a, const struct addr *b); /* family, address and port */

/* The number of an IP address; an IPv4 address mapped into IPv6 is IPv4. False for other families.
 * */
bool addr_number(const struct addr *addr, struct addr_number *number);

/* An IP address by its bytes in network order: four of AF_INET, 16 of AF_INET6. */
void addr_from_bytes(struct addr *addr, int family, const uint8_t *ip, unsigned port);

/* Its first `bits` bits, the others 0. */
struct addr_number addr_mask(struct addr_number number, int bits);

/* Below 0, 0 or above: as numbers of one family are ordered. */
static inline int addr_compare(const struct addr_number *a, const struct addr_number *b)
{
    if (a->high != b->high)
        return a->high < b->high ? -1 : 1;
    return (a->low > b->low) - (a->low < b->low);
}

/* Writes "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock", "unix:@name", or "unix" for a nameless
 * one. An IPv4 address mapped into IPv6 is written as IPv4. Control characters come as \xNN. */
const char *addr_print(const struct addr *addr, char text[static ADDR_TEXT]);

/* The same, with a zone as a number, "[fe80::1%2]:80": the kernel tells its name by a socket, which
 * the list of system calls keeps a worker from opening. */
const char *addr_print_peer(const struct addr *addr, char text[static ADDR_TEXT]);

/* Writes the address alone: "127.0.0.1", "::1", "fe80::1%eth0"; empty for a Unix socket. */
const char *addr_print_ip(const struct addr *addr, char text[static ADDR_TEXT]);

/* The same where nothing slow may be done: without a zone, whose name would have to be asked for,
 * and without a NUL. Returns where it ends, ADDR_IP_MAX bytes on at most. */
enum { ADDR_IP_MAX = INET6_ADDRSTRLEN };
char *addr_put_ip(char *at, const struct addr *addr);

/* A Unix socket's path as it is, or "@name", up to a NUL in that: without one behind it. Returns
 * where it ends, ADDR_PATH_MAX + 1 bytes on at most; at once if it has no name. */
char *addr_put_path(char *at, const struct addr *addr);

#endif
