/* Any bytes as the beginning of a connection: the end of a header is the same for each part that
 * has arrived; what it says, rewritten in version 2 and as a line, reads back to the same. */
#include "fuzz.h"

#include "../../src/wire/proxy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* As if the bytes came in pieces: each part is ours in whole, and says no more than the whole. */
static void measure_parts(const uint8_t *bytes, const struct proxy_extent *all)
{
    struct proxy_extent part;
    size_t step = all->certain > 300 ? all->certain / 100 : 1;
    for (size_t seen = 1; seen < all->certain; seen += step) {
        must(proxy_measure(bytes, seen, &part));
        must(part.certain == seen && !part.whole);
        must(part.whole_size == 0 || part.whole_size == all->whole_size);
    }
}

static void check_same(const uint8_t *bytes, size_t size, const struct proxy_header *header)
{
    struct proxy_extent extent;
    struct proxy_header again;
    must(proxy_measure(bytes, size, &extent) && extent.whole && extent.certain == size);
    must(proxy_read(bytes, size, &again) == NULL && again.proxied);
    must(addr_equal(&again.source, &header->source));
    must(addr_equal(&again.destination, &header->destination));
}

static size_t put_address(uint8_t *at, const struct addr *addr)
{
    if (addr->sa.sa_family == AF_UNIX) {
        size_t length = addr->len - offsetof(struct sockaddr_un, sun_path);
        memcpy(at, addr->un.sun_path, length);
        return 108;
    }
    bool four = addr->sa.sa_family == AF_INET;
    memcpy(at, four ? (const void *)&addr->in.sin_addr : &addr->in6.sin6_addr, four ? 4 : 16);
    return four ? 4 : 16;
}

static size_t put_port(uint8_t *at, const struct addr *addr)
{
    at[0] = (uint8_t)(addr_port(addr) >> 8);
    at[1] = (uint8_t)addr_port(addr);
    return addr->sa.sa_family == AF_UNIX ? 0 : 2;
}

static void write_binary(const struct proxy_header *header)
{
    uint8_t bytes[PROXY_FIXED + 220] = "\r\n\r\n\0\r\nQUIT\n\x21";
    size_t size = PROXY_FIXED;
    int family = header->source.sa.sa_family;
    bytes[13] = family == AF_INET ? 0x11 : family == AF_INET6 ? 0x21 : 0x31;
    size += put_address(bytes + size, &header->source);
    size += put_address(bytes + size, &header->destination);
    size += put_port(bytes + size, &header->source);
    size += put_port(bytes + size, &header->destination);
    bytes[15] = (uint8_t)(size - PROXY_FIXED);
    check_same(bytes, size, header);
}

static void write_text(const struct proxy_header *header)
{
    char line[256], source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    int family = header->source.sa.sa_family;
    bool four = family == AF_INET;
    if (family == AF_UNIX)
        return;
    inet_ntop(family,
              four ? (const void *)&header->source.in.sin_addr : &header->source.in6.sin6_addr,
              source, sizeof source);
    inet_ntop(family,
              four ? (const void *)&header->destination.in.sin_addr
                   : &header->destination.in6.sin6_addr,
              destination, sizeof destination);
    int size =
        snprintf(line, sizeof line, "PROXY %s %s %s %u %u\r\n", four ? "TCP4" : "TCP6", source,
                 destination, addr_port(&header->source), addr_port(&header->destination));
    check_same((const uint8_t *)line, (size_t)size, header);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct proxy_extent extent;
    struct proxy_header header;
    if (size == 0 || !proxy_measure(bytes, size, &extent))
        return 0;
    must(extent.certain > 0 && extent.certain <= size && extent.certain <= PROXY_MAX);
    must(extent.whole || extent.certain == size);
    measure_parts(bytes, &extent);
    if (!extent.whole)
        return 0;
    /* A copy of exactly this size, so that sanitizers notice reads beyond it. */
    uint8_t *exact = malloc(extent.certain);
    must(exact != NULL);
    memcpy(exact, bytes, extent.certain);
    if (proxy_read(exact, extent.certain, &header) == NULL && header.proxied) {
        write_binary(&header);
        write_text(&header);
    }
    free(exact);
    return 0;
}
