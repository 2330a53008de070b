#include "reach.h"

#include "../base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* The owner of a path may do with it as much as he likes, and each time is an event. So after each
 * look there is a pause, in which the kernel puts like ones together, and drops what is too much. */
#define LOOKS_APART  (USEC_SECOND / 10)
#define LOSSES_APART (10 * USEC_SECOND)

enum {
    /* That it was unlinked changes the count of its links, which is an attribute: the inode lives on,
     * for the socket has it. */
    EVENTS = IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_DONT_FOLLOW,
    READS_A_LOOK = 16,
};

static void stir(void *owner)
{
    ((struct reach *)owner)->stirred = true;
}

int reach_open(struct reach *reach, struct loop *loop)
{
    *reach = (struct reach){.watch = {.ready = stir, .owner = reach}, .again = USEC_NEVER};
    reach->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (reach->watch.fd < 0)
        return -errno;
    int error = loop_add(loop, &reach->watch);
    if (error)
        close(reach->watch.fd);
    else
        reach->loop = loop;
    return error;
}

void reach_close(struct reach *reach)
{
    if (!reach->loop)
        return;
    if (reach->again == USEC_NEVER)
        loop_remove(reach->loop, &reach->watch);
    close(reach->watch.fd);
    reach->loop = NULL;
}

static void tell_loss(struct listener *listener, bool is_control, enum listener_loss loss)
{
    unsigned missed;
    if (log_rate_ok(&listener->loss_told, LOSSES_APART, &missed))
        log_warning("%s %s: %s; nobody can connect to it until a reload (%s) binds it anew "
                    "listener=%s missed=%u",
                    is_control ? "control" : "listener", listener->text, listener_loss_words[loss],
                    is_control ? "SIGHUP" : "preforkctl reload", listener->text, missed);
}

/* Whether it was lost or found. */
static bool look(struct listener *listener, bool is_control)
{
    bool was_reachable = listener_is_reachable(listener);
    enum listener_loss loss = listener_look(listener);
    if (was_reachable && loss != LISTENER_SOUND)
        tell_loss(listener, is_control, loss);
    else if (!was_reachable && loss == LISTENER_SOUND)
        log_notice("%s %s: it can be reached again listener=%s",
                   is_control ? "control" : "listener", listener->text, listener->text);
    return was_reachable != (loss == LISTENER_SOUND);
}

/* What leads to something else is not watched, which may be another listener's. Whatever was done
 * before this one was watched is seen by the look behind that. */
static void watch_one(struct reach *reach, struct listener *listener)
{
    if (listener->watch || !listener->made.number || listener_look(listener) == LISTENER_REMOVED)
        return;
    int watch = inotify_add_watch(reach->watch.fd, listener->asked.un.sun_path, EVENTS);
    if (watch < 0 && errno != ENOENT)
        log_notice("listener %s: can't be told when its path is removed: %s; a reload will see it "
                   "listener=%s",
                   listener->text, strerror(errno), listener->text);
    if (watch > 0)
        listener->watch = watch;
    if (listener_look(listener) == LISTENER_REMOVED)
        reach_forget(reach, listener);
}

void reach_watch(struct reach *reach, struct listener *listeners)
{
    for (struct listener *l = listeners; reach->loop && l; l = l->next)
        watch_one(reach, l);
}

void reach_forget(struct reach *reach, struct listener *listener)
{
    if (reach->loop && listener && listener->watch)
        inotify_rm_watch(reach->watch.fd, listener->watch);
    if (listener)
        listener->watch = 0;
}

/* An overflow says that something was left out: then all are suspect. */
static void suspect(struct listener *listeners, const struct inotify_event *event)
{
    for (struct listener *l = listeners; l; l = l->next) {
        bool meant = l->watch && l->watch == event->wd;
        l->suspect = l->suspect || meant || event->mask & IN_Q_OVERFLOW;
        if (meant && event->mask & IN_IGNORED)
            l->watch = 0;
    }
}

static void read_events(struct reach *reach, struct listener *listeners, struct listener *control)
{
    _Alignas(struct inotify_event) char bytes[4096];
    ssize_t size = 1;
    for (int reads = 0; size > 0 && reads < READS_A_LOOK; reads++) {
        size = read(reach->watch.fd, bytes, sizeof bytes);
        for (ssize_t at = 0; at < size;) {
            const struct inotify_event *event = (const void *)(bytes + at);
            suspect(listeners, event);
            suspect(control, event);
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
}

enum { POOLS = false, CONTROL = true };

static bool look_at_suspects(struct listener *listeners, bool are_control)
{
    bool changed = false;
    for (struct listener *l = listeners; l; l = l->next) {
        if (l->suspect)
            changed = look(l, are_control) || changed;
        l->suspect = false;
    }
    return changed;
}

usec reach_step(struct reach *reach, struct listener *listeners, struct listener *control, usec now)
{
    if (!reach->loop)
        return USEC_NEVER;
    if (now >= reach->again)
        reach->again = loop_add(reach->loop, &reach->watch) == 0 ? USEC_NEVER : now + LOOKS_APART;
    if (!reach->stirred)
        return reach->again;
    reach->stirred = false;
    read_events(reach, listeners, control);
    if (look_at_suspects(listeners, POOLS))
        reach->changed = true;
    look_at_suspects(control, CONTROL);
    loop_remove(reach->loop, &reach->watch);
    reach->again = now + LOOKS_APART;
    return reach->again;
}
