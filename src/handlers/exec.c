/*
 * exec - a program per connection, with the socket as its standard input and output: what inetd
 * calls nowait.
 *
 * The worker waits for its program and for nothing else: what the program left running is not
 * waited for. Standard error stays the worker's, a pipe that the master reads into the log.
 */
#include "handler.h"

#include "../base/launch.h"
#include "../base/log.h"
#include "program.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct exec_config {
    struct words command;
};

static const struct option_row rows[] = {
    {.name = "command",
     .type = OPTION_WORDS,
     .offset = offsetof(struct exec_config, command),
     .min = 1,
     .max = 1000,
     .flags = OPTION_REQUIRED},
    OPTION_END,
};

static const char *const refused[] = {"idle_timeout", NULL};

static void exec_check(const char *pool, const void *config, const struct origin *origin,
                       struct faults *faults)
{
    const struct exec_config *exec = config;
    program_check(exec->command.at[0], pool, "exec", origin->file,
                  option_line(rows, origin, "command"), faults);
}

/* Waits without reaping first: as long as the program is a zombie, its group's number is nobody
 * else's, and what kills the group by it hits no stranger. */
static void await_program(struct service *service, struct conn *conn, pid_t pid)
{
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
        continue;
    *service->program = 0;
    conn->has_status = waitpid(pid, &conn->status, 0) == pid;
}

static int exec_serve(struct service *service, struct conn *conn)
{
    static struct log_rate failures;
    const struct exec_config *exec = service->config;
    struct launch launch = {
        .path = exec->command.at[0],
        .arguments = (char *const *)exec->command.at,
        .environment = service->environment,
        .directory = -1,
        .input = conn->fd,
        .output = conn->fd,
        .error = -1,
        .group = service->program,
    };
    conn->counted = false;
    pid_t pid = launch_program(&launch);
    if (pid > 0) {
        await_program(service, conn, pid);
        return 0;
    }
    unsigned missed;
    if (log_rate_ok(&failures, 10 * USEC_SECOND, &missed))
        log_err("pool %s: can't start %s: %s pool=%s program=%s missed=%u", service->pool,
                launch.path, strerror(-pid), service->pool, launch.path, missed);
    return pid;
}

const struct handler handler_exec = {
    .section = {.name = "exec",
                .rows = rows,
                .size = sizeof(struct exec_config),
                .refused = refused},
    .runs_programs = true,
    .check = exec_check,
    .serve = exec_serve,
};
