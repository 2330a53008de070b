/*
 * exec - a program per connection, with the socket as its standard input and output: inetd's
 * nowait.
 *
 * The worker waits for its program, but not for what the program left running. The connection
 * belongs to the program: the worker closes its copy at once, so that the client sees the end when
 * the program closes, whatever the program does afterwards. Whatever does not depend on the
 * connection is prepared before there is one.
 *
 * With a template, the program runs in a fork of it (see template); if no template is ready, the
 * program is started like any other.
 */
#include "handler.h"

#include "../base/fd.h"
#include "../base/launch.h"
#include "../base/log.h"
#include "program.h"
#include "template.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where a program's standard error goes: to the worker's pipe, which the master reads into the log;
 * to the client; to the null device. */
enum { ERRORS_LOG, ERRORS_SOCKET, ERRORS_NULL };
static const char *const error_words[] = {
    [ERRORS_LOG] = "log", [ERRORS_SOCKET] = "socket", [ERRORS_NULL] = "null", NULL};

struct exec_config {
    struct words command, template;
    int template_max_forks;
    int errors;
};

static const struct option_row rows[] = {
    OPTION_ROW(exec_config, command, "command", WORDS, .min = 1, .max = 1000,
               .flags = OPTION_REQUIRED),
    OPTION_ROW(exec_config, errors, "stderr", CHOICE, .choices = error_words, .fallback = "log"),
    OPTION_ROW(exec_config, template, "template", WORDS, .min = 1, .max = 1000),
    OPTION_ROW(exec_config, template_max_forks, "template_max_forks", NUMBER, .min = 0,
               .max = TEMPLATE_FORKS_MOST, .fallback = "0"),
    OPTION_END,
};

/* What the worker prepares before a connection comes. */
static struct {
    struct launch launch;
    struct template *template; /* NULL: none */
    int directory;             /* the working directory for forks of the template */
    struct ucspi *variables;
    struct addr local; /* the local address of every connection; length 0: ask the socket */
    int failed;        /* starts in a row */
    unsigned chance;   /* rand_r's state, different in each worker */
} ready;

static const struct option_default defaults[] = {{"no_new_privs", "false"}, {NULL, NULL}};

static void exec_check(const struct handler_check *check)
{
    const struct exec_config *exec = check->config;
    program_check(check, "command", exec->command.at[0]);
    if (exec->template.count)
        template_check(check, (char *const *)exec->template.at);
    else if (exec->template_max_forks)
        HANDLER_FAULT(check, "template_max_forks", "template_max_forks needs a template");
}

static int start_template(struct service *service, const struct exec_config *exec, char *why,
                          size_t size)
{
    if (!exec->template.count)
        return 0;
    ready.directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (ready.directory < 0) {
        int error = -errno;
        snprintf(why, size, "can't open the directory of programs: %s", strerror(-error));
        return error;
    }
    ready.template = template_new(service, 0, (char *const *)exec->template.at,
                                  exec->template_max_forks, why, size);
    return ready.template ? 0 : -EPROTO;
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
    /* A worker's standard input is the null device. Copy it: a chroot may have no /dev/null. */
    if (exec->errors == ERRORS_NULL && error == 0) {
        ready.launch.error = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        error = ready.launch.error < 0 ? -errno : 0;
    }
    if (error) {
        snprintf(why, size, "can't prepare for programs: %s", strerror(-error));
        return error;
    }
    /* A listener that is bound to one address has the local address of its connections. */
    struct addr *local = &ready.local;
    local->len = sizeof *local - offsetof(struct addr, sa);
    if (service->listener_count != 1 ||
        getsockname(service->listeners[0], &local->sa, &local->len) != 0 || addr_is_any(local))
        local->len = 0;
    return start_template(service, exec, why, size);
}

static void exec_stop(struct service *service)
{
    (void)service;
    template_free(ready.template);
    ready.template = NULL;
}

/* The address that the client connected to; empty if the socket has lost it. */
static const struct addr *local_address(const struct conn *conn, struct addr *asked)
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
    const struct addr *local = local_address(conn, &asked);
    if (conn->peer.sa.sa_family != AF_UNIX)
        return ucspi_tcp(ready.variables, &conn->peer, local, service->same_peer(service));
    struct ucred peer = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t size = sizeof peer;
    if (!conn->proxied) /* else it would be the proxy's */
        getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    return ucspi_unix(ready.variables, &peer, local);
}

/* Waits before it reaps: as long as the program is a zombie, no other process group can get its
 * number, so a signal to the group by its number hits no stranger. */
static void await_program(struct service *service, struct conn *conn, pid_t pid)
{
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
        continue;
    service_end_program(service);
    conn->has_status = waitpid(pid, &conn->status, 0) == pid;
}

/* Pauses, so that a missing program does not keep the processors busy with clients that reconnect
 * in a loop. */
static void start_failed(struct service *service, int error)
{
    static struct log_rate failures;
    unsigned missed;
    char value[LOG_QUOTED(PATH_MAX)];
    service->pause_msec = program_pause_msec(++ready.failed, &ready.chance);
    *service->start_error = (uint32_t)error;
    *service->failed_starts = (uint32_t)ready.failed;
    if (log_rate_ok(&failures, 10 * USEC_SECOND, &missed))
        log_err("pool %s: can't start %s: %s pool=%s program=%s failed=%d missed=%u", service->pool,
                ready.launch.path, strerror(error), service->pool,
                log_quoted(value, sizeof value, ready.launch.path), ready.failed, missed);
}

/* Runs the program in a fork of the template. 0, or -errno: the program has not begun. */
static int run_in_template(struct service *service, struct template_child *child)
{
    int script = open(ready.launch.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (script >= 0 && !template_may_run(script, /* executable: */ true))
        fd_cleanup(&script);
    const struct template_request request = {&ready.launch, ready.directory, script,
                                             ready.launch.arguments};
    int error = template_run(ready.template, service, &request, child);
    fd_cleanup(&script);
    return error;
}

/* The pidfd wakes us when the program ends, whatever happens to the template. Until the template is
 * told to reap the program, no other process group can get its number. */
static void await_fork(struct service *service, struct conn *conn, struct template_child *child)
{
    struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
    struct rusage usage;
    while (poll(&end, 1, -1) < 0)
        continue;
    service_end_program(service);
    conn->has_status = template_reap(ready.template, child, &conn->status, &usage);
}

static int exec_serve(struct service *service, struct conn *conn)
{
    const struct exec_config *exec = service->config;
    conn->counted = false;
    ready.launch.environment = environment_of(service, conn);
    ready.launch.input = ready.launch.output = conn->fd;
    if (exec->errors == ERRORS_SOCKET)
        ready.launch.error = conn->fd;
    struct template_child child;
    template_reap_orphans();
    bool forked = ready.template && run_in_template(service, &child) == 0;
    pid_t pid = forked ? child.pid : launch_program(&ready.launch);
    if (pid < 0) {
        start_failed(service, -pid);
        return pid;
    }
    if (ready.failed)
        *service->failed_starts = 0;
    ready.failed = 0;
    close(conn->fd);
    conn->fd = -1;
    if (forked)
        await_fork(service, conn, &child);
    else
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
    .stop = exec_stop,
};
