/*
 * model_process - one connection at a time: the worker is a lane.
 */
#include "lane.h"
#include "model.h"

#include <stdio.h>
#include <string.h>

static struct lane lane = {.wake_fd = -1};

static int open_lane(const struct model_start *start, char *why, size_t size)
{
    lane.serve = start->life->seats;
    lane.listeners = start->listeners;
    lane.count = start->count;
    lane.first = start->drop_calls;
    int error = lane_open(&lane, start->polls);
    if (error == 0)
        return serve_open_lane(lane.serve, why, size);
    snprintf(why, size, "epoll: %s", strerror(-error));
    return -1;
}

static int run(void)
{
    int status = lane_run(&lane);
    serve_close_lane(lane.serve);
    return status;
}

static void look(void)
{
    lane_wake(&lane);
}

static void stop(const struct model_start *start)
{
    lane_leave_listeners(start->listeners, start->count);
    lane_wake(&lane);
}

const struct model model_process = {
    .open = open_lane,
    .run = run,
    .look = look,
    .stop = stop,
};
