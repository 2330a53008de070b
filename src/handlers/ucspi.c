#include "ucspi.h"

#include "../base/digits.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    NUMBER_ROOM = DIGITS_MAX + 1,
    IP_ROOM = ADDR_IP_MAX + 1,
    PATH_ROOM = ADDR_PATH_MAX + 2, /* with the @ of an abstract name */
};

/* The order of the variables, those over TCP first. */
enum {
    TCP_PROTO,
    TCP_REMOTE_IP,
    TCP_REMOTE_PORT,
    TCP_LOCAL_IP,
    TCP_LOCAL_PORT,
    TCP_NUMBER,
    REMOTE_ADDR,
    REMOTE_PORT,
    UNIX_PROTO,
    UNIX_UID,
    UNIX_GID,
    UNIX_PID,
    UNIX_PATH,
    VARIABLES,
    TCP_VARIABLES = UNIX_PROTO,
};

/* With the value that never changes, or the room for the one that does. */
static const struct variable {
    const char *text;
    size_t room;
} variables[VARIABLES] = {
    [TCP_PROTO] = {"PROTO=TCP", 1},
    [TCP_REMOTE_IP] = {"TCPREMOTEIP=", IP_ROOM},
    [TCP_REMOTE_PORT] = {"TCPREMOTEPORT=", NUMBER_ROOM},
    [TCP_LOCAL_IP] = {"TCPLOCALIP=", IP_ROOM},
    [TCP_LOCAL_PORT] = {"TCPLOCALPORT=", NUMBER_ROOM},
    [TCP_NUMBER] = {"TCPCONNNUM=", NUMBER_ROOM},
    [REMOTE_ADDR] = {"REMOTE_ADDR=", IP_ROOM},
    [REMOTE_PORT] = {"REMOTE_PORT=", NUMBER_ROOM},
    [UNIX_PROTO] = {"PROTO=UNIX", 1},
    [UNIX_UID] = {"UNIXREMOTEEUID=", NUMBER_ROOM},
    [UNIX_GID] = {"UNIXREMOTEEGID=", NUMBER_ROOM},
    [UNIX_PID] = {"UNIXREMOTEPID=", NUMBER_ROOM},
    [UNIX_PATH] = {"UNIXLOCALPATH=", PATH_ROOM},
};

struct ucspi {
    char *texts[VARIABLES];  /* NAME=VALUE */
    char *values[VARIABLES]; /* where in it the value begins */
    bool wanted[VARIABLES];  /* false if the base has one of this name */
    int base_count;
    bool is_unix; /* what the list holds behind the base */
    char *list[]; /* the base, the variables of one family, NULL */
};

static bool has(char *const *list, const char *variable)
{
    size_t length = strcspn(variable, "=") + 1;
    while (*list && strncmp(*list, variable, length) != 0)
        list++;
    return *list != NULL;
}

static bool make_texts(struct ucspi *ucspi, char *const *base)
{
    size_t size = 0;
    for (int i = 0; i < VARIABLES; i++)
        size += strlen(variables[i].text) + variables[i].room;
    char *at = malloc(size);
    if (!at)
        return false;
    for (int i = 0; i < VARIABLES; i++) {
        ucspi->wanted[i] = !has(base, variables[i].text);
        ucspi->texts[i] = strcpy(at, variables[i].text);
        ucspi->values[i] = at + strlen(at);
        at = ucspi->values[i] + variables[i].room;
    }
    return true;
}

/* Puts the variables of one family behind the base. */
static void choose(struct ucspi *ucspi, bool is_unix)
{
    int count = ucspi->base_count;
    for (int i = is_unix ? UNIX_PROTO : 0; i < (is_unix ? VARIABLES : TCP_VARIABLES); i++)
        if (ucspi->wanted[i])
            ucspi->list[count++] = ucspi->texts[i];
    ucspi->list[count] = NULL;
    ucspi->is_unix = is_unix;
}

struct ucspi *ucspi_make(char *const *base)
{
    int count = 0;
    while (base[count])
        count++;
    size_t pointers = (size_t)count + TCP_VARIABLES + 1;
    struct ucspi *ucspi = calloc(1, sizeof *ucspi + pointers * sizeof *ucspi->list);
    if (!ucspi || !make_texts(ucspi, base)) {
        free(ucspi);
        return NULL;
    }
    ucspi->base_count = count;
    memcpy(ucspi->list, base, (size_t)count * sizeof *base);
    choose(ucspi, false);
    return ucspi;
}

static void put_number(struct ucspi *ucspi, int variable, unsigned number)
{
    *digits_put(ucspi->values[variable], number, 10) = '\0';
}

static void put_ip(struct ucspi *ucspi, int variable, const struct addr *addr)
{
    *addr_put_ip(ucspi->values[variable], addr) = '\0';
}

char *const *ucspi_tcp(struct ucspi *ucspi, const struct addr *peer, const struct addr *local,
                       unsigned number)
{
    if (ucspi->is_unix)
        choose(ucspi, false);
    put_ip(ucspi, TCP_REMOTE_IP, peer);
    put_ip(ucspi, REMOTE_ADDR, peer);
    put_ip(ucspi, TCP_LOCAL_IP, local);
    put_number(ucspi, TCP_REMOTE_PORT, addr_port(peer));
    put_number(ucspi, REMOTE_PORT, addr_port(peer));
    put_number(ucspi, TCP_LOCAL_PORT, addr_port(local));
    put_number(ucspi, TCP_NUMBER, number);
    return ucspi->list;
}

char *const *ucspi_unix(struct ucspi *ucspi, const struct ucred *peer, const struct addr *local)
{
    if (!ucspi->is_unix)
        choose(ucspi, true);
    put_number(ucspi, UNIX_UID, peer->uid);
    put_number(ucspi, UNIX_GID, peer->gid);
    put_number(ucspi, UNIX_PID, (unsigned)peer->pid);
    *addr_put_path(ucspi->values[UNIX_PATH], local) = '\0';
    return ucspi->list;
}
