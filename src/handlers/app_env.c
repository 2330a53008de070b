#include "app_env.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beside one a socket. */
enum { VARIABLES_MAX = 16 };

/* A list as it grows. */
struct list {
    char **at;
    int count;
    bool failed;
};

static bool has_name(const struct list *list, const char *name)
{
    size_t length = strlen(name);
    for (int i = 0; i < list->count; i++)
        if (strncmp(list->at[i], name, length) == 0 && list->at[i][length] == '=')
            return true;
    return false;
}

static void put(struct list *list, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put(struct list *list, const char *name, const char *format, ...)
{
    char *value = NULL, *variable = NULL;
    va_list args;
    if (has_name(list, name))
        return;
    va_start(args, format);
    if (vasprintf(&value, format, args) < 0 || asprintf(&variable, "%s=%s", name, value) < 0)
        list->failed = true;
    else
        list->at[list->count++] = variable;
    va_end(args);
    free(value);
}

/* What stands for a socket in a variable that names them all. */
typedef void printer(FILE *out, const struct app_socket *socket, int fd);

static void print_name(FILE *out, const struct app_socket *socket, int fd)
{
    fprintf(out, "%s%s", fd > APP_FIRST_FD ? ":" : "", socket->name);
}

static void print_port(FILE *out, const struct app_socket *socket, int fd)
{
    fprintf(out, "%s%s=%d", fd > APP_FIRST_FD ? ";" : "", socket->address, fd);
}

static void print_fd(FILE *out, const struct app_socket *socket, int fd)
{
    (void)socket;
    fprintf(out, "%s%d", fd > APP_FIRST_FD ? " " : "", fd);
}

static void put_sockets(struct list *list, const char *name, const struct app_facts *facts,
                        printer *print)
{
    char *value = NULL;
    size_t size;
    FILE *out = open_memstream(&value, &size);
    for (int i = 0; out && i < facts->socket_count; i++)
        print(out, &facts->sockets[i], APP_FIRST_FD + i);
    if (!out || fclose(out) != 0)
        list->failed = true;
    else
        put(list, name, "%s", value);
    free(value);
}

/* sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3) */
static void put_systemd(struct list *list, const struct app_facts *facts)
{
    put(list, "LISTEN_FDS", "%d", facts->socket_count);
    put(list, "LISTEN_PID", "%d", (int)facts->pid);
    put_sockets(list, "LISTEN_FDNAMES", facts, print_name);
    if (!facts->notify)
        return;
    put(list, "NOTIFY_SOCKET", "%s", facts->notify);
    put(list, "WATCHDOG_PID", "%d", (int)facts->pid);
    put(list, "WATCHDOG_USEC", "%lld", (long long)facts->watchdog);
}

/* No EINHORN_MASTER_PID: a program that finds its parent's there asks for EINHORN_SOCK_PATH too,
 * and acknowledges itself there. einhorn's own library fails if that is missing; without either it
 * takes the process for no worker of einhorn's, and finds the sockets all the same. */
static void put_einhorn(struct list *list, const struct app_facts *facts)
{
    put(list, "EINHORN_FD_COUNT", "%d", facts->socket_count);
    put_sockets(list, "EINHORN_FDS", facts, print_fd);
    for (int i = 0; i < facts->socket_count; i++) {
        char name[32];
        snprintf(name, sizeof name, "EINHORN_FD_%d", i);
        put(list, name, "%d", APP_FIRST_FD + i);
    }
}

char **app_environment(char *const *base, const struct app_facts *facts)
{
    struct list list = {0};
    size_t inherited = 0;
    while (base[inherited])
        inherited++;
    list.at = calloc(inherited + VARIABLES_MAX + (size_t)facts->socket_count, sizeof *list.at);
    if (!list.at)
        return NULL;
    memcpy(list.at, base, inherited * sizeof *base);
    list.count = (int)inherited;
    put_systemd(&list, facts);
    put_sockets(&list, "SERVER_STARTER_PORT", facts, print_port);
    put(&list, "SERVER_STARTER_GENERATION", "%u", facts->generation);
    put_einhorn(&list, facts);
    put(&list, "PREFORKD_SLOT", "%d", facts->number);
    return list.failed ? NULL : list.at;
}
