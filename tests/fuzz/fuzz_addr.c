/* Any bytes as the text of an address, and as an address from the kernel: writing stays within
 * bounds, text is written as libc writes it, and reads back to the same address. */
#include "fuzz.h"

#include "../../src/base/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

/* No lookup leaves the process. */
unsigned if_nametoindex(const char *name)
{
    return (unsigned)strlen(name);
}

char *if_indextoname(unsigned index, char name[IF_NAMESIZE])
{
    if (index == 0 || index >= IF_NAMESIZE)
        return NULL;
    memset(name, 'e', index);
    name[index] = '\0';
    return name;
}

static void want(bool right)
{
    if (!right)
        abort();
}

/* Writes an address in every form. */
static void print(const struct addr *addr)
{
    char text[ADDR_TEXT], ip[ADDR_IP_MAX], path[ADDR_PATH_MAX + 1];
    want(addr_print(addr, text) == text && strlen(text) < sizeof text);
    want(addr_print_peer(addr, text) == text && strlen(text) < sizeof text);
    want(addr_put_ip(ip, addr) < ip + sizeof ip); /* room for a NUL */
    want(addr_put_path(path, addr) <= path + sizeof path);
    want(addr_equal(addr, addr) || addr->sa.sa_family == AF_UNSPEC || addr->sa.sa_family > AF_UNIX);
    want(!addr_is_any(addr) || !addr_is_abstract(addr));
    want(addr_port(addr) <= 65535);
}

static void read_ip(const char *text, unsigned port)
{
    struct addr addr, again;
    unsigned char bytes[sizeof(struct in6_addr)];
    char ip[ADDR_TEXT];
    bool good = addr_from_ip(&addr, text, port);
    if (!strchr(text, '%'))
        want(good ==
             (inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1));
    if (!good)
        return;
    print(&addr);
    want(addr_port(&addr) == port);
    if (addr.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&addr.in6.sin6_addr))
        return; /* written as what it stands for */
    *addr_put_ip(ip, &addr) = '\0';
    want(addr_from_ip(&again, ip, port));
    if (addr.sa.sa_family == AF_INET6)
        again.in6.sin6_scope_id = addr.in6.sin6_scope_id;
    want(addr_equal(&addr, &again));
}

static void read_path(const char *text)
{
    struct addr addr;
    char path[ADDR_PATH_MAX + 2];
    if (!addr_from_path(&addr, text))
        return;
    print(&addr);
    *addr_put_path(path, &addr) = '\0';
    want(strcmp(path, text) == 0);
}

/* As accept() and getsockname() could fill it. */
static void take(const uint8_t *bytes, size_t size)
{
    struct addr addr = {0};
    size_t most = sizeof addr - offsetof(struct addr, sa);
    addr.len = (socklen_t)(size < most ? size : most);
    memcpy(&addr.sa, bytes, addr.len);
    if (addr.len >= sizeof addr.sa.sa_family)
        addr.sa.sa_family %= AF_INET6 + 1;
    if (addr.sa.sa_family == AF_INET && addr.len < sizeof addr.in)
        addr.len = 0;
    if (addr.sa.sa_family == AF_INET6 && addr.len < sizeof addr.in6)
        addr.len = 0;
    print(&addr);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 1); /* so that reads beyond it are noticed */
    if (!text)
        abort();
    memcpy(text, bytes, size);
    text[size] = '\0';
    read_ip(text, size > 1 ? bytes[0] * 256u + bytes[1] : 0);
    read_path(text);
    take(bytes, size);
    free(text);
    return 0;
}
