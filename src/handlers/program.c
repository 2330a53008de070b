#include "program.h"

#include "../base/units.h"
#include "handler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

void program_check(const struct handler_check *check, const char *option, const char *path)
{
    struct stat program;
    size_t word = strcspn(path, " ");
    if (path[0] != '/')
        HANDLER_FAULT(check, option,
                      "the program \"%s\" must be an absolute path; ~ and $ are not expanded, and "
                      "PATH is not searched",
                      path);
    else if (path[word] && stat(path, &program) != 0)
        HANDLER_FAULT(
            check, option,
            "there is no program \"%s\"; each argument is a string of its own: { \"%.*s\", "
            "\"ARGUMENT\" }",
            path, (int)word, path);
    else if (stat(path, &program) != 0)
        HANDLER_FAULT(check, option, "the pool's user can't find the program %s: %s", path,
                      strerror(errno));
    else if (!S_ISREG(program.st_mode))
        HANDLER_FAULT(check, option, "the program %s is not a regular file", path);
    else if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        HANDLER_FAULT(check, option, "the pool's user can't execute the program %s: %s", path,
                      strerror(errno));
}

enum {
    PAUSE_FIRST_MSEC = 100, /* after the second failed start in a row */
    PAUSE_MOST_MSEC = 10 * 1000,
};

int program_pause_msec(int failed, unsigned *chance)
{
    if (failed < 2)
        return 0;
    int shift = failed - 2 < 7 ? failed - 2 : 7;
    int most = PAUSE_FIRST_MSEC << shift;
    if (most > PAUSE_MOST_MSEC)
        most = PAUSE_MOST_MSEC;
    return most / 2 + rand_r(chance) % (most / 2 + 1);
}

/* All programs of a worker share its pipe for standard error. When the master sees that the worker
 * has accepted another connection, it knows that whatever it has read by then was written before
 * (master/stderr_log). What it has not read yet gets a newline here. If the line was ended already,
 * the newline makes an empty line, which is not logged. So a program that wrote nothing costs one
 * ioctl(), and does not wake the master. A write that blocks waits for the master, which always
 * reads. If a program set O_NONBLOCK and left the pipe full, the flag is cleared, and the write
 * repeated. */
void program_end_line(void)
{
    int unread = 0;
    if (ioctl(STDERR_FILENO, FIONREAD, &unread) != 0 || unread == 0)
        return;
    ssize_t written = write(STDERR_FILENO, "\n", 1);
    if (written < 0 && errno == EAGAIN && fcntl(STDERR_FILENO, F_SETFL, 0) == 0)
        written = write(STDERR_FILENO, "\n", 1);
    (void)written;
}

/* --- environments ----------------------------------------------------------------------------- */

/* Whether the environment has a variable of the same name; `variable` is "NAME=...". */
static bool has(char *const *list, const char *variable)
{
    size_t length = strcspn(variable, "=") + 1;
    while (*list && strncmp(*list, variable, length) != 0)
        list++;
    return *list != NULL;
}

/* An environment under construction, in memory that is zeroed: always ended by NULL. */
struct list {
    char **at;
    int count;
    bool failed; /* out of memory */
};

static void add(struct list *list, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds a variable, "NAME=VALUE", unless the list has one of its name. */
static void add(struct list *list, const char *format, ...)
{
    char *variable;
    va_list args;
    va_start(args, format);
    if (vasprintf(&variable, format, args) < 0)
        list->failed = true;
    else if (has(list->at, variable))
        free(variable);
    else
        list->at[list->count++] = variable;
    va_end(args);
}

char **program_environment(const struct pool_config *pool)
{
    const char *path = getenv("PATH");
    const struct {
        const char *name, *value;
    } base[] = {
        {"PATH", path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        {"TZ", getenv("TZ")},
        {"LANG", getenv("LANG")},
        {"HOME", pool->identity.home},
        {"USER", pool->identity.user},
        {"LOGNAME", pool->identity.user},
    };
    enum { BASE = sizeof base / sizeof *base };
    struct list list = {.at = calloc((size_t)pool->environment.count + BASE + 1, sizeof *list.at)};
    if (!list.at)
        return NULL;
    for (int i = 0; i < pool->environment.count; i++)
        add(&list, "%s", pool->environment.at[i]);
    for (int i = 0; i < BASE; i++)
        if (base[i].value)
            add(&list, "%s=%s", base[i].name, base[i].value);
    return list.failed ? NULL : list.at;
}

/* --- a program that inherits listeners -------------------------------------------------------- */

/* Prints one socket of a variable that describes them all. */
typedef void printer(FILE *out, const struct app_socket *socket, int fd);

static void print_name(FILE *out, const struct app_socket *socket, int fd)
{
    (void)fd;
    fputs(socket->name, out);
}

static void print_port(FILE *out, const struct app_socket *socket, int fd)
{
    fprintf(out, "%s=%d", socket->address, fd);
}

static void print_fd(FILE *out, const struct app_socket *socket, int fd)
{
    (void)socket;
    fprintf(out, "%d", fd);
}

static void add_sockets(struct list *list, const char *name, char separator,
                        const struct app_facts *facts, printer *print)
{
    char *value = NULL;
    size_t size;
    FILE *out = open_memstream(&value, &size);
    for (int i = 0; out && i < facts->socket_count; i++) {
        if (i > 0)
            fputc(separator, out);
        print(out, &facts->sockets[i], APP_FIRST_FD + i);
    }
    if (!out || fclose(out) != 0)
        list->failed = true;
    else
        add(list, "%s=%s", name, value);
    free(value);
}

/* sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3) */
static void add_systemd(struct list *list, const struct app_facts *facts)
{
    add(list, "LISTEN_FDS=%d", facts->socket_count);
    add(list, "LISTEN_PID=%d", (int)facts->pid);
    add_sockets(list, "LISTEN_FDNAMES", ':', facts, print_name);
    if (!facts->notify)
        return;
    add(list, "NOTIFY_SOCKET=%s", facts->notify);
    add(list, "WATCHDOG_PID=%d", (int)facts->pid);
    add(list, "WATCHDOG_USEC=%lld", (long long)facts->watchdog);
}

/* EINHORN_MASTER_PID is left out: a program that finds its parent's pid there asks for
 * EINHORN_SOCK_PATH too, and acknowledges itself there; einhorn's own library fails if that is
 * missing. Without either, the library takes the process for no worker of einhorn's, and finds the
 * sockets all the same. */
static void add_einhorn(struct list *list, const struct app_facts *facts)
{
    add(list, "EINHORN_FD_COUNT=%d", facts->socket_count);
    add_sockets(list, "EINHORN_FDS", ' ', facts, print_fd);
    for (int i = 0; i < facts->socket_count; i++)
        add(list, "EINHORN_FD_%d=%d", i, APP_FIRST_FD + i);
}

char **app_environment(char *const *base, const struct app_facts *facts)
{
    enum { VARIABLES_MAX = 16 }; /* besides one for each socket */
    struct list list = {0};
    while (base[list.count])
        list.count++;
    list.at =
        calloc((size_t)list.count + VARIABLES_MAX + (size_t)facts->socket_count, sizeof *list.at);
    if (!list.at)
        return NULL;
    memcpy(list.at, base, (size_t)list.count * sizeof *base);
    add_systemd(&list, facts);
    add_sockets(&list, "SERVER_STARTER_PORT", ';', facts, print_port);
    add(&list, "SERVER_STARTER_GENERATION=%u", facts->generation);
    add_einhorn(&list, facts);
    add(&list, "PREFORKD_SLOT=%d", facts->number);
    return list.failed ? NULL : list.at;
}

/* --- a program for one connection ------------------------------------------------------------- */

enum {
    NUMBER_ROOM = DIGITS_MAX + 1,
    IP_ROOM = ADDR_IP_MAX + 1,
    PATH_ROOM = ADDR_PATH_MAX + 2, /* including the @ of an abstract name */
};

/* The order of the variables: TCP first, then Unix. */
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

/* Each with its constant value, or with the room that its value needs. */
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
    char *values[VARIABLES]; /* the VALUE in it */
    bool wanted[VARIABLES];  /* false: the base has one of this name */
    int base_count;
    bool is_unix; /* the family whose variables follow the base in `list` */
    char *list[]; /* the base, the variables of one family, NULL */
};

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

/* Makes the variables of one family follow the base. */
static void choose_family(struct ucspi *ucspi, bool is_unix)
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
    choose_family(ucspi, false);
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
        choose_family(ucspi, false);
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
        choose_family(ucspi, true);
    put_number(ucspi, UNIX_UID, peer->uid);
    put_number(ucspi, UNIX_GID, peer->gid);
    put_number(ucspi, UNIX_PID, (unsigned)peer->pid);
    *addr_put_path(ucspi->values[UNIX_PATH], local) = '\0';
    return ucspi->list;
}
