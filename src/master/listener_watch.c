#include "listener_watch.h"

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
    ((struct listener_watch *)owner)->stirred = true;
}

int listener_watch_open(struct listener_watch *listener_watch, struct loop *loop)
{
    *listener_watch = (struct listener_watch){.watch = {.ready = stir, .owner = listener_watch},
                                              .again = USEC_NEVER};
    listener_watch->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (listener_watch->watch.fd < 0)
        return -errno;
    int error = loop_add(loop, &listener_watch->watch);
    if (error)
        close(listener_watch->watch.fd);
    else
        listener_watch->loop = loop;
    return error;
}

void listener_watch_close(struct listener_watch *listener_watch)
{
    if (!listener_watch->loop)
        return;
    if (listener_watch->again == USEC_NEVER)
        loop_remove(listener_watch->loop, &listener_watch->watch);
    close(listener_watch->watch.fd);
    listener_watch->loop = NULL;
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
static void watch_one(struct listener_watch *listener_watch, struct listener *listener)
{
    if (listener->watch || !listener->made.number || listener_look(listener) == LISTENER_REMOVED)
        return;
    int watch = inotify_add_watch(listener_watch->watch.fd, listener->asked.un.sun_path, EVENTS);
    if (watch < 0 && errno != ENOENT)
        log_notice("listener %s: can't be told when its path is removed: %s; a reload will see it "
                   "listener=%s",
                   listener->text, strerror(errno), listener->text);
    if (watch > 0)
        listener->watch = watch;
    if (listener_look(listener) == LISTENER_REMOVED)
        listener_watch_forget(listener_watch, listener);
}

void listener_watch_watch(struct listener_watch *listener_watch, struct listener *listeners)
{
    for (struct listener *l = listeners; listener_watch->loop && l; l = l->next)
        watch_one(listener_watch, l);
}

void listener_watch_forget(struct listener_watch *listener_watch, struct listener *listener)
{
    if (listener_watch->loop && listener && listener->watch)
        inotify_rm_watch(listener_watch->watch.fd, listener->watch);
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

static void read_events(struct listener_watch *listener_watch, struct listener *listeners,
                        struct listener *control)
{
    _Alignas(struct inotify_event) char bytes[4096];
    ssize_t size = 1;
    for (int reads = 0; size > 0 && reads < READS_A_LOOK; reads++) {
        size = read(listener_watch->watch.fd, bytes, sizeof bytes);
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

usec listener_watch_step(struct listener_watch *listener_watch, struct listener *listeners,
                         struct listener *control, usec now)
{
    if (!listener_watch->loop)
        return USEC_NEVER;
    if (now >= listener_watch->again)
        listener_watch->again = loop_add(listener_watch->loop, &listener_watch->watch) == 0
                                    ? USEC_NEVER
                                    : now + LOOKS_APART;
    if (!listener_watch->stirred)
        return listener_watch->again;
    listener_watch->stirred = false;
    read_events(listener_watch, listeners, control);
    if (look_at_suspects(listeners, POOLS))
        listener_watch->changed = true;
    look_at_suspects(control, CONTROL);
    loop_remove(listener_watch->loop, &listener_watch->watch);
    listener_watch->again = now + LOOKS_APART;
    return listener_watch->again;
}
