/* Any bytes as the addresses of a connection from the kernel or a PROXY header: the program's
 * variables are well-formed, equal the printed address, and keep the pool's own. The first byte
 * chooses the pool. */
#include "fuzz.h"

#include "../../src/handlers/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BASES = 3, PER_ADDRESS = 1 + sizeof(struct sockaddr_un) };

static void must(bool holds)
{
    if (!holds)
        abort();
}

static char home[] = "HOME=/", mine[] = "TCPREMOTEIP=mine", proto[] = "PROTO=x",
            uid[] = "UNIXREMOTEEUID=y", longer[] = "TCPREMOTEIPS=z";
static char *const bases[BASES][5] = {
    {home, NULL}, {mine, proto, uid, NULL}, {longer, home, mine, NULL}};

/* As accept() and getsockname() could fill it. */
static void take(struct addr *addr, const uint8_t **bytes, size_t *size)
{
    size_t most = sizeof(struct sockaddr_un), n = *size < most ? *size : most;
    *addr = (struct addr){.len = (socklen_t)n};
    memcpy(&addr->sa, *bytes, n);
    addr->sa.sa_family %= AF_INET6 + 1;
    if ((addr->sa.sa_family == AF_INET && n < sizeof addr->in) ||
        (addr->sa.sa_family == AF_INET6 && n < sizeof addr->in6) || n < sizeof addr->sa.sa_family)
        *addr = (struct addr){0};
    *bytes += n;
    *size -= n;
}

/* The value of a name, which a list has once. */
static const char *value_of(char *const *list, const char *name)
{
    const char *found = NULL;
    size_t length = strlen(name);
    for (int i = 0; list[i]; i++) {
        must(strchr(list[i], '=') != NULL);
        if (strncmp(list[i], name, length) == 0 && list[i][length] == '=') {
            must(!found);
            found = list[i] + length + 1;
        }
    }
    return found;
}

static void check(char *const *list, char *const *base, const char *name, const char *wanted)
{
    const char *own = value_of(base, name), *value = value_of(list, name);
    must(value && strcmp(value, own ? own : wanted) == 0);
}

static void check_tcp(char *const *list, char *const *base, const struct addr *addr,
                      const char *ip_name, const char *port_name)
{
    char ip[ADDR_IP_MAX + 1], port[16];
    *addr_put_ip(ip, addr) = '\0';
    snprintf(port, sizeof port, "%u", addr_port(addr));
    check(list, base, ip_name, ip);
    check(list, base, port_name, port);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct ucspi *made[BASES]; /* they can't be released */
    struct addr peer, local;
    struct ucred ids = {0};
    char text[ADDR_PATH_MAX + 2];
    if (size < 1 + sizeof ids)
        return 0;
    int which = bytes[0] % BASES;
    char *const *base = bases[which];
    made[which] = made[which] ? made[which] : ucspi_make(base);
    must(made[which] != NULL);
    memcpy(&ids, bytes + 1, sizeof ids);
    bytes += 1 + sizeof ids;
    size -= 1 + sizeof ids;
    take(&peer, &bytes, &size);
    take(&local, &bytes, &size);
    char *const *list = ucspi_tcp(made[which], &peer, &local, ids.uid);
    for (int i = 0; base[i]; i++)
        must(list[i] == base[i]);
    check(list, base, "PROTO", "TCP");
    check_tcp(list, base, &peer, "TCPREMOTEIP", "TCPREMOTEPORT");
    check_tcp(list, base, &peer, "REMOTE_ADDR", "REMOTE_PORT");
    check_tcp(list, base, &local, "TCPLOCALIP", "TCPLOCALPORT");
    must(!value_of(list, "UNIXREMOTEPID") && !value_of(list, "UNIXLOCALPATH"));
    if (local.sa.sa_family != AF_UNIX)
        return 0;
    list = ucspi_unix(made[which], &ids, &local);
    *addr_put_path(text, &local) = '\0';
    check(list, base, "PROTO", "UNIX");
    check(list, base, "UNIXLOCALPATH", text);
    snprintf(text, sizeof text, "%u", ids.uid);
    check(list, base, "UNIXREMOTEEUID", text);
    snprintf(text, sizeof text, "%u", ids.gid);
    check(list, base, "UNIXREMOTEEGID", text);
    must(!value_of(list, "REMOTE_PORT") && !value_of(list, "TCPCONNNUM"));
    return 0;
}
