#include "listens.h"

#include "../base/daemon.h"
#include "../base/units.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PORT_MAX = 65535, HOST_MAX = 255, NAME_MAX_BYTES = 255 };

/* The word being read, and the addresses read so far. */
struct reading {
    const char *word;
    const struct pool_config *pool;
    struct faults *faults;
    struct listen_spec *specs;
    int count, room;
    bool fresh; /* see struct config: a reload must not fail by what a user puts at the path of a
                   listener that serves */
};

static void fault(const struct reading *reading, const char *why)
{
    const struct origin *origin = &reading->pool->origin;
    faults_add(reading->faults, option_file(pool_rows, origin, "listen"),
               option_line(pool_rows, origin, "listen"), "pool %s: listen \"%.150s\": %s",
               reading->pool->name, reading->word, why);
}

static void add(struct reading *reading, struct listen_spec spec)
{
    if (reading->count >= reading->room) {
        reading->count++;
        return;
    }
    spec.word = reading->word;
    spec.file = option_file(pool_rows, &reading->pool->origin, "listen");
    spec.line = option_line(pool_rows, &reading->pool->origin, "listen");
    reading->specs[reading->count++] = spec;
}

/* --- Unix sockets, and passed ones --------------------------------------------------------- */

bool listens_in_default_place(const char *path)
{
    return geteuid() == 0 && strncmp(path, PLACE_RUN "/", sizeof PLACE_RUN) == 0 &&
           !strchr(path + sizeof PLACE_RUN, '/');
}

/* Always false. A directory made by hand below /run is gone after the next boot. */
static bool explain_directory(const char *path, int error, char *why, size_t size)
{
    bool volatile_path = strncmp(path, "/run/", 5) == 0 || strncmp(path, "/var/run/", 9) == 0;
    int length = (int)(entry_name(path) - path);
    length -= length > 1; /* its slash */
    if (error == ENOENT)
        snprintf(why, size, "its directory %.*s is not there: %s", length, path,
                 volatile_path ? "create it at each boot, by RuntimeDirectory= of systemd.exec(5) "
                                 "or by tmpfiles.d(5)"
                               : "make it");
    else if (error == ENOTDIR)
        snprintf(why, size, "%.*s is not a directory", length, path);
    else
        snprintf(why, size, "the daemon can't make a socket in its directory %.*s: %s", length,
                 path, strerror(error));
    return false;
}

/* "/x/", "/x/." and "/x/.." name a directory, not a socket in one. */
static bool has_name(const char *path)
{
    const char *name = entry_name(path);
    return name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* The check runs as the user that will bind the socket, so faccessat(2) gives the right answer. */
bool listens_can_bind(const char *path, struct inode *directory, char *why, size_t size)
{
    char name[ADDR_PATH_MAX + 2];
    struct inode found;
    int length = (int)(entry_name(path) - path);
    if (!has_name(path)) {
        snprintf(why, size, "the name of the socket is missing");
        return false;
    }
    int error = entry_directory(path, &found);
    if (error == -ENOENT && listens_in_default_place(path))
        return true;
    if (error)
        return explain_directory(path, -error, why, size);
    *directory = found;
    snprintf(name, sizeof name, "%.*s", length, path);
    if (faccessat(AT_FDCWD, name, W_OK | X_OK, AT_EACCESS) != 0)
        return explain_directory(path, errno, why, size);
    return true;
}

bool listens_are_taken(const char *path)
{
    struct stat there;
    return lstat(path, &there) == 0 && !S_ISSOCK(there.st_mode);
}

static void read_path(struct reading *reading, const char *path)
{
    char why[400];
    struct listen_spec spec = {0};
    if (path[0] != '/' && path[0] != '@')
        fault(reading, "a Unix socket is unix:/an/absolute/path or unix:@name");
    else if (strcmp(path, "@") == 0)
        fault(reading, "the name of the socket is missing");
    else if (!addr_from_path(&spec.addr, path))
        fault(reading, "the path of a Unix socket has at most 107 bytes");
    else if (path[0] == '/' && !listens_can_bind(path, &spec.directory, why, sizeof why))
        fault(reading, why);
    else if (path[0] == '/' && reading->fresh && listens_are_taken(path))
        fault(reading, LISTENS_TAKEN);
    else
        add(reading, spec);
}

/* Accepts the names that systemd accepts for FileDescriptorName= (systemd.socket(5)). */
static void read_passed(struct reading *reading, const char *name)
{
    size_t length = 0;
    while (name[length] > 0x20 && name[length] < 0x7f && name[length] != ':')
        length++;
    if (length == 0 || name[length] || length > NAME_MAX_BYTES)
        fault(reading,
              "the name of a passed socket has 1 to 255 characters, no blank and no colon");
    else
        add(reading, (struct listen_spec){.passed_name = name});
}

/* --- hosts --------------------------------------------------------------------------------- */

/* Reads a number, or the name of a TCP service. False: a fault is noted. */
static bool read_port(struct reading *reading, const char *text, unsigned *port)
{
    uint64_t value = 0;
    bool number = isdigit((unsigned char)*text);
    bool fits = digits_read(text, PORT_MAX, &value);
    const struct servent *service = *text && !number ? getservbyname(text, "tcp") : NULL;
    *port = service ? ntohs((in_port_t)service->s_port) : (unsigned)value;
    if (!*text)
        fault(reading, "the port is missing");
    else if (!number && !service)
        fault(reading, "the system knows no service of this name");
    else if (number && !fits)
        fault(reading, "the port is a number from 0 to 65535 without leading zeroes, or a "
                       "service's name");
    else
        return true;
    return false;
}

/* An IPv4-mapped address can't be bound: the socket would be an IPv6 one that takes no IPv4. A
 * link-local address can't be bound without its interface. */
static void read_numeric(struct reading *reading, const struct addr *addr)
{
    const struct in6_addr *ip = &addr->in6.sin6_addr;
    bool six = addr->sa.sa_family == AF_INET6;
    if (six && IN6_IS_ADDR_V4MAPPED(ip))
        fault(reading, "write an IPv4 address as such");
    else if (six && IN6_IS_ADDR_LINKLOCAL(ip) && addr->in6.sin6_scope_id == 0)
        fault(reading, "a link-local address needs its interface: [fe80::1%eth0]:PORT");
    else
        add(reading, (struct listen_spec){.addr = *addr});
}

static void free_found(struct addrinfo **found)
{
    if (*found)
        freeaddrinfo(*found);
}

/* Adds every address of a host, once each. */
static void read_name(struct reading *reading, const char *host, unsigned port)
{
    struct addrinfo *found __attribute__((cleanup(free_found))) = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int first = reading->count, error = getaddrinfo(host, NULL, &hints, &found);
    for (const struct addrinfo *at = found; at && !error; at = at->ai_next) {
        struct addr addr = {.len = at->ai_addrlen};
        if (at->ai_addrlen > sizeof addr.un)
            continue;
        memcpy(&addr.sa, at->ai_addr, at->ai_addrlen);
        if (addr.sa.sa_family == AF_INET)
            addr.in.sin_port = htons((in_port_t)port);
        else if (addr.sa.sa_family == AF_INET6)
            addr.in6.sin6_port = htons((in_port_t)port);
        else
            continue;
        int known = first;
        while (known < reading->count && known < reading->room &&
               !addr_equal(&reading->specs[known].addr, &addr))
            known++;
        if (known == reading->count || known >= reading->room)
            read_numeric(reading, &addr);
    }
    if (error)
        fault(reading, error == EAI_SYSTEM ? "the host can't be looked up" : gai_strerror(error));
    else if (reading->count == first)
        fault(reading, "the host name has no address");
}

/* False if the address is written as in another daemon's file. The fault says how to write it. */
static bool is_native_form(struct reading *reading)
{
    const char *word = reading->word;
    char why[300];
    if (word[0] && word[strspn(word, "0123456789")] == '\0')
        snprintf(why, sizeof why, "a port alone; *:%.20s listens on every address", word);
    else if (word[0] == '/')
        snprintf(why, sizeof why, "the path of a Unix socket is written unix:%.200s", word);
    else if (strncmp(word, "tcp:", 4) == 0 || strncmp(word, "http:", 5) == 0)
        snprintf(why, sizeof why, "TCP is written HOST:PORT, without %.*s",
                 (int)strcspn(word, ":") + 1, word);
    else if (strncmp(word, "udp:", 4) == 0)
        snprintf(why, sizeof why, "every listener is a stream, TCP or Unix");
    else
        return true;
    fault(reading, why);
    return false;
}

/* Reads HOST:PORT, [IPv6]:PORT or *:PORT. */
static void read_host(struct reading *reading)
{
    char host[HOST_MAX + 1];
    struct in_addr odd; /* 010.0.0.1 or 1, which a lookup would take for 8.0.0.1 or 0.0.0.1 */
    unsigned port;
    struct addr addr;
    bool bracketed = reading->word[0] == '[';
    const char *begin = reading->word + bracketed;
    const char *end = bracketed ? strchr(begin, ']') : strrchr(begin, ':');
    if (!is_native_form(reading))
        return;
    if (!end || (bracketed && end[1] != ':')) {
        fault(reading, "expected HOST:PORT, [IPv6]:PORT, *:PORT, unix:PATH, unix:@NAME or "
                       "systemd:NAME");
        return;
    }
    if (end == begin || end - begin > HOST_MAX) {
        fault(reading, end == begin ? "the host is missing; *:PORT listens on every address"
                                    : "the host is too long");
        return;
    }
    snprintf(host, sizeof host, "%.*s", (int)(end - begin), begin);
    if (!read_port(reading, end + 1 + bracketed, &port))
        return;
    bool numeric = addr_from_ip(&addr, host, port);
    if (!bracketed && strcmp(host, "*") == 0) {
        addr_any(&addr, AF_INET6, port);
        add(reading, (struct listen_spec){.addr = addr, .any_family = true});
    } else if (bracketed && !numeric && strchr(host, '%') && !if_nametoindex(strchr(host, '%') + 1))
        fault(reading, "the system has no network interface of this name");
    else if (bracketed && (!numeric || addr.sa.sa_family != AF_INET6))
        fault(reading, "only an IPv6 address may be in brackets");
    else if (!bracketed && strchr(host, ':'))
        fault(reading, "an IPv6 address stands in brackets: [IPv6]:PORT");
    else if (numeric)
        read_numeric(reading, &addr);
    else if (inet_aton(host, &odd))
        fault(reading, "an IPv4 address has four decimal numbers without leading zeroes");
    else
        read_name(reading, host, port);
}

int listens_read(struct config *config, const struct pool_config *pool, struct listen_spec *specs,
                 int room)
{
    struct reading reading = {.pool = pool,
                              .faults = &config->faults,
                              .specs = specs,
                              .room = room,
                              .fresh = config->fresh};
    for (int i = 0; i < pool->listen.count; i++) {
        config_step(config);
        reading.word = pool->listen.at[i];
        if (strncmp(reading.word, "unix:", 5) == 0)
            read_path(&reading, reading.word + 5);
        else if (strncmp(reading.word, "systemd:", 8) == 0)
            read_passed(&reading, reading.word + 8);
        else
            read_host(&reading);
    }
    return reading.count;
}

/* --- overlaps ------------------------------------------------------------------------------ */

/* A wildcard covers the addresses of its family, *:PORT those of both. */
static bool covers(const struct listen_spec *any, const struct listen_spec *one)
{
    return addr_is_any(&any->addr) &&
           (any->any_family || any->addr.sa.sa_family == one->addr.sa.sa_family);
}

/* Two paths are the same if they have the same name in the same directory, however they are
 * spelled. An abstract name has no directory: only the same name is the same address. */
bool listens_overlap(const struct listen_spec *a, const struct listen_spec *b)
{
    if (a->passed_name || b->passed_name)
        return a->passed_name && b->passed_name && strcmp(a->passed_name, b->passed_name) == 0;
    bool a_unix = a->addr.sa.sa_family == AF_UNIX, b_unix = b->addr.sa.sa_family == AF_UNIX;
    if (a_unix || b_unix)
        return a_unix && b_unix &&
               (addr_equal(&a->addr, &b->addr) ||
                entry_same(a->addr.un.sun_path, &a->directory, b->addr.un.sun_path, &b->directory));
    if (addr_port(&a->addr) != addr_port(&b->addr) || addr_port(&a->addr) == 0)
        return false;
    return covers(a, b) || covers(b, a) || addr_equal(&a->addr, &b->addr);
}
