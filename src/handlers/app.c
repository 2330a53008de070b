/*
 * app - the worker becomes a program, which inherits the listeners and accepts by itself: inetd's
 * wait, spawn-fcgi, and every server that knows LISTEN_FDS.
 *
 * None of our code is left in the process then: no serve, no slot. The master learns all that it
 * must know of the program from outside.
 */
#include "handler.h"

#include "../base/fd.h"
#include "../listeners/listener.h"
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READY_EXEC, READY_NOTIFY };
static const char *const ready_words[] = {[READY_EXEC] = "exec", [READY_NOTIFY] = "notify", NULL};

/* The signals that programs take for "finish and exit", in the order of `signals`. */
static const char *const signal_words[] = {"TERM", "INT",  "QUIT",  "HUP",
                                           "USR1", "USR2", "WINCH", NULL};
static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH};

_Static_assert(sizeof signals / sizeof *signals + 1 == sizeof signal_words / sizeof *signal_words,
               "each word has its signal");

struct app_config {
    struct words command;
    int ready;
    int stop_signal; /* an index of `signals` */
    int roll_at_once;
};

static const struct option_row rows[] = {
    OPTION_ROW(app_config, command, "command", WORDS, .min = 1, .max = 1000,
               .flags = OPTION_REQUIRED),
    OPTION_ROW(app_config, ready, "ready", CHOICE, .choices = ready_words, .fallback = "exec"),
    OPTION_ROW(app_config, stop_signal, "stop_signal", CHOICE, .choices = signal_words,
               .fallback = "TERM"),
    OPTION_ROW(app_config, roll_at_once, "roll_at_once", NUMBER, .min = 1, .max = POOL_WORKERS_MAX,
               .fallback = "1", .flags = OPTION_LIVE),
    OPTION_END,
};

/* Nobody sees the program accept, so how long it lives is all there is to judge it by. */
static const struct option_default defaults[] = {
    {"no_new_privs", "false"}, {"min_ready_time", "2"}, {NULL, NULL}};

static void app_check(const struct handler_check *check)
{
    const struct app_config *app = check->config;
    program_check(check, "command", app->command.at[0]);
}

static void fill_policy(const void *config, struct app_policy *app_policy)
{
    const struct app_config *app = config;
    *app_policy = (struct app_policy){
        .stop_signal = signals[app->stop_signal],
        .notifies = app->ready == READY_NOTIFY,
        .roll_at_once = app->roll_at_once,
    };
}

static char **environment_of(const struct service *service)
{
    struct app_socket *sockets = calloc((size_t)service->listener_count, sizeof *sockets);
    if (!sockets)
        return NULL;
    for (int i = 0; i < service->listener_count; i++) {
        const struct listener *listener = service->sockets[i];
        const char *text = listener->text;
        bool path = strncmp(text, "unix:", 5) == 0;
        sockets[i] = (struct app_socket){
            .name = listener->passed_name ? listener->passed_name : service->pool,
            .address = path ? text + 5 : text,
        };
    }
    return app_environment(service->environment, &(struct app_facts){
                                                     .pid = getpid(),
                                                     .generation = service->generation,
                                                     .number = service->number,
                                                     .sockets = sockets,
                                                     .socket_count = service->listener_count,
                                                     .notify = service->notify,
                                                     .watchdog = service->watchdog,
                                                 });
}

/* Moves the listeners to APP_FIRST_FD and up, in order, and copies the first to standard input. A
 * listener that stands in the range of the targets is moved out of the way first. 0 or -errno. */
static int place_listeners(const struct service *service)
{
    int count = service->listener_count, end = APP_FIRST_FD + count;
    int *from = calloc((size_t)count, sizeof *from);
    if (!from)
        return -ENOMEM;
    for (int i = 0; i < count; i++) {
        int fd = service->listeners[i];
        from[i] = fd < end ? fcntl(fd, F_DUPFD_CLOEXEC, end) : fd;
        if (from[i] < 0)
            return -errno;
    }
    for (int i = 0; i < count; i++)
        if (dup2(from[i], APP_FIRST_FD + i) < 0)
            return -errno;
    return dup2(from[0], STDIN_FILENO) < 0 ? -errno : 0;
}

static void app_exec(struct service *service, char *why, size_t size)
{
    const struct app_config *app = service->config;
    const char *path = app->command.at[0];
    sigset_t none;
    char **environment = environment_of(service);
    int error = environment ? place_listeners(service) : -ENOMEM;
    /* Standard output and error are the pipe that the master reads into the log. All other
     * descriptors close on exec. */
    if (error == 0 && dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        error = -errno;
    if (error == 0)
        error = fd_shut_at_exec(APP_FIRST_FD + service->listener_count, -1);
    if (error) {
        snprintf(why, size, "can't prepare for %s: %s", path, strerror(-error));
        return;
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL); /* a signal to end that is pending ends it here */
    execve(path, (char *const *)app->command.at, environment);
    snprintf(why, size, "can't start %s: %s", path, strerror(errno));
}

const struct handler handler_app = {
    .section = {.name = "app",
                .rows = rows,
                .size = sizeof(struct app_config),
                .descriptors = 1, /* where the program reports */
                .process_only = "the worker becomes a program, which accepts by itself",
                .defaults = defaults},
    .runs_programs = true,
    .check = app_check,
    .app_policy = fill_policy,
    .exec = app_exec,
};
