#include "load.h"

#include "../listeners/accept_queue.h"

#include <poll.h>
#include <sys/stat.h>

/* Between two tries to watch the listeners. */
#define WATCH_PATIENCE (USEC_SECOND / 2)

static struct scale_limits limits_of(const struct pool_config *conf)
{
    return (struct scale_limits){
        .min_workers = conf->min_workers,
        .max_workers = conf->max_workers,
        .min_spare = conf->min_spare,
        .max_spare = conf->max_spare,
        .spare_timeout = conf->spare_timeout * USEC_SECOND,
    };
}

static int queue_of(const struct load_scene *scene)
{
    struct accept_queues queues = {0};
    int all = 0;
    accept_queues_ask(&queues);
    for (int i = 0; i < scene->listener_count; i++) {
        struct stat socket;
        const struct accept_queue *queue = fstat(scene->listeners[i]->fd, &socket) == 0
                                               ? accept_queues_find(&queues, socket.st_ino)
                                               : NULL;
        all += queue ? queue->depth : 0;
    }
    accept_queues_free(&queues);
    return all;
}

static void tell_full(struct load *load, const struct load_scene *scene)
{
    const char *name = scene->conf->name;
    usec since = load->scale.full_since;
    unsigned missed;
    if (!since && load->said_full) {
        log_notice("pool %s: no longer full pool=%s", name, name);
        load->said_full = false;
    }
    if (!since || scene->now - since < USEC_SECOND ||
        !log_rate_ok(&load->full, 60 * USEC_SECOND, &missed))
        return;
    int queue = queue_of(scene), seconds = (int)((scene->now - since) / USEC_SECOND);
    log_warning("pool %s: full for %d s: all %d workers are busy, connections that wait: %d "
                "pool=%s workers=%d seconds=%d queue=%d",
                name, seconds, scene->conf->max_workers, queue, name, scene->conf->max_workers,
                seconds, queue);
    load->said_full = true;
}

/* Most of the time nobody waits, which is told more cheaply than how many do. */
static bool anyone_waits(const struct load_scene *scene)
{
    for (int i = 0; i < scene->listener_count; i++) {
        struct pollfd input = {.fd = scene->listeners[i]->fd, .events = POLLIN};
        if (poll(&input, 1, 0) == 1)
            return true;
    }
    return false;
}

static void step_blind(struct load *load, const struct load_scene *scene, int ready)
{
    struct scale_limits limits = limits_of(scene->conf);
    if (load->looked_at && scene->now - load->looked_at < SCALE_LOOK_SHORT / 2 && ready)
        return; /* somebody else's affair woke us */
    load->looked_at = scene->now;
    struct scale_blind facts = {
        .ready = ready,
        .queue = anyone_waits(scene) ? queue_of(scene) : 0,
        .now = scene->now,
    };
    load->orders = scale_step_blind(&load->scale, &limits, &facts);
    tell_full(load, scene);
}

void load_step(struct load *load, const struct load_scene *scene, int ready, int idle)
{
    if (scene->blind) {
        step_blind(load, scene, ready);
        return;
    }
    struct scale_limits limits = limits_of(scene->conf);
    struct scale_facts facts = {
        .ready = ready,
        .idle = idle,
        .waiting = wakeup_events_waiting(&load->wakeup_events),
        .now = scene->now,
    };
    load->orders = scale_step(&load->scale, &limits, &facts);
    tell_full(load, scene);
}

static usec watch(struct load *load, const struct load_scene *scene)
{
    if (!load->orders.watch) {
        wakeup_events_unwatch(&load->wakeup_events);
        return USEC_NEVER;
    }
    int error = wakeup_events_watch(&load->wakeup_events, scene->loop, scene->listeners,
                                    scene->listener_count, scene->changed);
    return error ? scene->now + WATCH_PATIENCE : USEC_NEVER;
}

usec load_await(struct load *load, const struct load_scene *scene)
{
    usec next = clock_earlier(load->orders.look, watch(load, scene));
    if (load->orders.arm)
        wakeup_events_arm(scene->board);
    else
        wakeup_events_disarm(scene->board);
    return next;
}

bool load_is_missed(const struct load *load, const struct load_scene *scene, int idle)
{
    struct scale_limits limits = limits_of(scene->conf);
    return load->orders.arm && !scale_has_spare(&limits, idle);
}

void load_stop(struct load *load, struct scoreboard *board)
{
    wakeup_events_unwatch(&load->wakeup_events);
    wakeup_events_disarm(board);
}
