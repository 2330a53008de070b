/*
 * exec - a program per connection, with the socket as its standard input and output: what inetd
 * calls nowait.
 *
 * The worker waits for its program and for nothing else: what the program left running is not
 * waited for. The connection is the program's alone: the worker closes its copy at once, so that
 * the client sees the end when the program closes, whatever that does afterwards. Whatever does not
 * depend on the connection is prepared before there is one.
 */
#include "handler.h"

#include "../base/launch.h"
#include "../base/log.h"
#include "program.h"
#include "ucspi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where a program's standard error goes: to the pipe that is the worker's, which the master reads
 * into the log; to the client; nowhere. */
enum { ERRORS_LOG, ERRORS_SOCKET, ERRORS_NULL };
static const char *const error_words[] = {
    [ERRORS_LOG] = "log", [ERRORS_SOCKET] = "socket", [ERRORS_NULL] = "null", NULL};

struct exec_config {
    struct words command;
    int errors;
};

static const struct option_row rows[] = {
    {.name = "command",
     .type = OPTION_WORDS,
     .offset = offsetof(struct exec_config, command),
     .min = 1,
     .max = 1000,
     .flags = OPTION_REQUIRED},
    {.name = "stderr",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct exec_config, errors),
     .choices = error_words,
     .fallback = "log"},
    OPTION_END,
};

enum {
    PAUSE_FIRST_MSEC = 100, /* after the second start in a row that failed */
    PAUSE_MOST_MSEC = 10 * 1000,
};

/* What a worker has ready when a connection comes. */
static struct {
    struct launch launch;
    struct ucspi *variables;
    struct addr local; /* of every connection; its length is 0 if it must be asked for */
    int failed;        /* starts, in a row */
    unsigned chance;   /* rand_r's: each worker has another */
} ready;

static const struct option_default defaults[] = {{"no_new_privs", "false"}, {NULL, NULL}};

static void exec_check(const char *pool, int model, const void *config, const struct origin *origin,
                       struct faults *faults)
{
    (void)model;
    const struct exec_config *exec = config;
    program_check(exec->command.at[0], pool, "exec", origin->file,
                  option_line(rows, origin, "command"), faults);
}

static int exec_start(struct service *service, char *why, size_t size)
{
    const struct exec_config *exec = service->config;
    ready.launch = (struct launch){
        .path = exec->command.at[0],
        .arguments = (char *const *)exec->command.at,
        .directory = -1,
        .error = -1,
        .group = service->program,
        .shown = service->shown,
        .caller = getpid(),
    };
    ready.chance = (unsigned)ready.launch.caller;
    ready.variables = ucspi_make(service->environment);
    int error = ready.variables ? 0 : -ENOMEM;
    /* A worker's standard input is the null device. Its root may have none. */
    if (exec->errors == ERRORS_NULL && error == 0) {
        ready.launch.error = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        error = ready.launch.error < 0 ? -errno : 0;
    }
    if (error) {
        snprintf(why, size, "can't prepare for programs: %s", strerror(-error));
        return error;
    }
    /* A listener that is bound to one address tells that of its connections. */
    struct addr *local = &ready.local;
    local->len = sizeof *local - offsetof(struct addr, sa);
    if (service->listener_count != 1 ||
        getsockname(service->listeners[0], &local->sa, &local->len) != 0 || addr_is_any(local))
        local->len = 0;
    return 0;
}

/* The address that the client called; nothing if the socket can't tell any more. */
static const struct addr *local_of(const struct conn *conn, struct addr *asked)
{
    if (conn->proxied)
        return &conn->local;
    if (ready.local.len)
        return &ready.local;
    asked->len = sizeof *asked - offsetof(struct addr, sa);
    if (getsockname(conn->fd, &asked->sa, &asked->len) != 0)
        asked->len = 0;
    return asked;
}

static char *const *environment_of(const struct service *service, const struct conn *conn)
{
    struct addr asked;
    const struct addr *local = local_of(conn, &asked);
    if (conn->peer.sa.sa_family != AF_UNIX)
        return ucspi_tcp(ready.variables, &conn->peer, local, service->same_peer(service));
    struct ucred peer = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t size = sizeof peer;
    if (!conn->proxied) /* else it would be the proxy's */
        getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    return ucspi_unix(ready.variables, &peer, local);
}

/* Waits without reaping first: as long as the program is a zombie, its group's number is nobody
 * else's, and what kills the group by it hits no stranger. */
static void await_program(struct service *service, struct conn *conn, pid_t pid)
{
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
        continue;
    service_end_program(service);
    conn->has_status = waitpid(pid, &conn->status, 0) == pid;
}

/* How long to wait after so many starts in a row that failed: not at all after the first one, then
 * doubling; the half of it by chance, so that no two workers go in step. */
static int pause_msec(int failed)
{
    if (failed < 2)
        return 0;
    int shift = failed - 2 < 7 ? failed - 2 : 7;
    int most = PAUSE_FIRST_MSEC << shift;
    if (most > PAUSE_MOST_MSEC)
        most = PAUSE_MOST_MSEC;
    return most / 2 + rand_r(&ready.chance) % (most / 2 + 1);
}

/* A program that is missing must not keep the processors busy with clients that come again and
 * again. */
static void start_failed(struct service *service, int error)
{
    static struct log_rate failures;
    unsigned missed;
    service->pause_msec = pause_msec(++ready.failed);
    *service->start_error = (uint32_t)error;
    *service->failed_starts = (uint32_t)ready.failed;
    if (log_rate_ok(&failures, 10 * USEC_SECOND, &missed))
        log_err("pool %s: can't start %s: %s pool=%s program=%s failed=%d missed=%u", service->pool,
                ready.launch.path, strerror(error), service->pool, ready.launch.path, ready.failed,
                missed);
}

static int exec_serve(struct service *service, struct conn *conn)
{
    const struct exec_config *exec = service->config;
    conn->counted = false;
    ready.launch.environment = environment_of(service, conn);
    ready.launch.input = ready.launch.output = conn->fd;
    if (exec->errors == ERRORS_SOCKET)
        ready.launch.error = conn->fd;
    pid_t pid = launch_program(&ready.launch);
    if (pid < 0) {
        start_failed(service, -pid);
        return pid;
    }
    if (ready.failed)
        *service->failed_starts = 0;
    ready.failed = 0;
    close(conn->fd);
    conn->fd = -1;
    await_program(service, conn, pid);
    if (exec->errors == ERRORS_LOG)
        program_end_line();
    return 0;
}

const struct handler handler_exec = {
    .section = {.name = "exec",
                .rows = rows,
                .size = sizeof(struct exec_config),
                .scopes = SCOPE_CONNECTIONS,
                .process_only = "its program has the connection to itself",
                .defaults = defaults},
    .runs_programs = true,
    .gives_away = true,
    .check = exec_check,
    .start = exec_start,
    .serve = exec_serve,
};
