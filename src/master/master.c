#include "master.h"

#include "../base/arena.h"
#include "../base/log.h"
#include "../base/sysd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A stop lasts so much longer than graceful_timeout: QUIT, KILL, reaping. */
#define STOP_MARGIN (5 * USEC_SECOND)

int master_open(struct master *master, const sigset_t *signals, const struct upgrade_self *self)
{
    *master = (struct master){.control.socket = -1};
    int error = loop_open(&master->loop, signals);
    if (!error)
        error = spawn_open(&master->runtime.spawner, &master->loop);
    if (!error)
        error = control_open(&master->control, &master->loop);
    if (error)
        return error;
    master->runtime.spawner.master = getpid();
    upgrade_init(&master->upgrade, self, &master->control);
    error = listener_watch_open(&master->runtime.listener_watch, &master->loop);
    if (error)
        log_notice("can't watch the paths of listeners: %s; a reload will see if one is removed",
                   strerror(-error));
    oom_open(&master->oom, "/proc/self/cgroup", "/sys/fs/cgroup");
    return 0;
}

int master_try(const struct state *state, const char *file)
{
    struct master *master = arena_unforked(sizeof *master);
    sigset_t none;
    sigemptyset(&none);
    int error = master ? loop_open(&master->loop, &none) : -ENOMEM;
    if (!error)
        error = spawn_open(&master->runtime.spawner, &master->loop);
    return error ? error : handoff_adopt(&master->runtime, state, file);
}

int master_start(struct master *master, struct config *config)
{
    if (reload_first(&master->reload, &master->runtime, config) != 0)
        return -1;
    usec timeout = 0; /* the longest ready_timeout, and a second */
    for (int i = 0; i < config->pool_count; i++)
        if (config->pools[i]->ready_timeout * USEC_SECOND > timeout)
            timeout = config->pools[i]->ready_timeout * USEC_SECOND;
    timeout += USEC_SECOND;
    master->phase = PHASE_STARTING;
    master->start_deadline = clock_now() + timeout;
    sysd_notify("EXTEND_TIMEOUT_USEC=%lld", (long long)(timeout + STOP_MARGIN));
    for (const struct pool *p = master->runtime.pools; p; p = p->next)
        for (int i = 0; i < p->listener_count; i++)
            log_notice("pool %s: listening on %s pool=%s listener=%s", p->name,
                       p->listeners[i]->text, p->name, p->listeners[i]->text);
    for (int i = 0; i < sysd_socket_count(); i++) {
        const struct sysd_socket *passed = sysd_socket(i);
        /* systemd listens on the socket, but no worker will ever accept from it. */
        if (!listener_find(master->runtime.listeners, passed->fd))
            log_warning("the socket that was passed as systemd:%s is in no pool listener=%s",
                        passed->name, passed->name);
    }
    return 0;
}

int master_resume(struct master *master, const struct state *state)
{
    int error = handoff_adopt(&master->runtime, state, master->upgrade.self.config);
    if (error)
        return error;
    master->phase = PHASE_SERVING;
    master->start_deadline = USEC_NEVER;
    upgrade_arrive(&master->upgrade, state);
    listener_watch_watch(&master->runtime.listener_watch, master->runtime.listeners);
    listener_watch_watch(&master->runtime.listener_watch, master->runtime.control);
    return 0;
}

void master_close(struct master *master)
{
    runtime_close_listeners(&master->runtime);
    listener_close(master->runtime.control);
    listener_watch_close(&master->runtime.listener_watch);
    control_close(&master->control);
    reload_close(&master->reload);
    config_unref(master->runtime.config);
    spawn_close(&master->runtime.spawner);
    loop_close(&master->loop);
}

static void begin_stop(struct master *master)
{
    master->phase = PHASE_STOPPING;
    reload_abandon(&master->reload, &master->runtime);
    upgrade_abandon(&master->upgrade);
    runtime_close_listeners(&master->runtime);
}

void master_stop(struct master *master)
{
    if (master->phase == PHASE_STOPPING) {
        master_stop_now(master);
        return;
    }
    usec now = clock_now(), longest = 0;
    for (const struct pool *p = master->runtime.pools; p; p = p->next)
        if (p->conf->graceful_timeout * USEC_SECOND > longest)
            longest = p->conf->graceful_timeout * USEC_SECOND;
    sysd_notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld", (long long)(longest + STOP_MARGIN));
    log_notice("stopping: connections in hand may end within %d s", (int)(longest / USEC_SECOND));
    begin_stop(master);
    for (struct pool *p = master->runtime.pools; p; p = p->next)
        pool_stop(p, now);
}

void master_stop_now(struct master *master)
{
    usec now = clock_now();
    if (!master->stopping_now)
        log_notice("stopping now");
    master->stopping_now = true;
    sysd_notify("STOPPING=1");
    begin_stop(master);
    for (struct pool *p = master->runtime.pools; p; p = p->next)
        pool_stop_now(p, now);
}
