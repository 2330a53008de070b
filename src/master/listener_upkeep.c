#include "listener_upkeep.h"

#include "../base/fd.h"
#include "../base/log.h"
#include "../base/sysd.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* A path's owner may cause any number of events. So after each look the loop pauses, and the kernel
 * meanwhile merges equal events, and drops those beyond its limit. */
#define LOOKS_APART  (USEC_SECOND / 10)
#define LOSSES_APART (10 * USEC_SECOND)

enum {
    /* IN_ATTRIB reports unlink(2) too, which changes the inode's link count. The inode itself lives
     * on while the socket is open. */
    EVENTS = IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_DONT_FOLLOW,
    READS_A_LOOK = 16,
};

static void note_input(void *owner)
{
    ((struct listener_upkeep *)owner)->has_input = true;
}

int listener_upkeep_open(struct listener_upkeep *upkeep, struct loop *loop)
{
    *upkeep = (struct listener_upkeep){.watch = {.ready = note_input, .owner = upkeep},
                                       .again = USEC_NEVER};
    upkeep->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (upkeep->watch.fd < 0)
        return -errno;
    int error = loop_add(loop, &upkeep->watch);
    if (error)
        close(upkeep->watch.fd);
    else
        upkeep->loop = loop;
    return error;
}

void listener_upkeep_close(struct listener_upkeep *upkeep)
{
    if (!upkeep->loop)
        return;
    if (upkeep->again == USEC_NEVER)
        loop_remove(upkeep->loop, &upkeep->watch);
    close(upkeep->watch.fd);
    upkeep->loop = NULL;
}

/* A path that leads elsewhere is not watched: it may be another listener's. The second
 * listener_look sees what was done to the path before the watch was added. */
void listener_upkeep_watch(struct listener_upkeep *upkeep, struct listener *listeners)
{
    char value[LOG_QUOTED(ADDR_TEXT)];
    for (struct listener *l = upkeep->loop ? listeners : NULL; l; l = l->next) {
        if (l->watch || !l->made.number || listener_look(l) == LISTENER_REMOVED)
            continue;
        int watch = inotify_add_watch(upkeep->watch.fd, l->asked.un.sun_path, EVENTS);
        if (watch < 0 && errno != ENOENT)
            log_notice("listener %s: can't watch its path: %s; a reload will see if it is removed "
                       "listener=%s",
                       l->text, strerror(errno), log_quoted(value, sizeof value, l->text));
        if (watch > 0)
            l->watch = watch;
        if (listener_look(l) == LISTENER_REMOVED)
            listener_upkeep_forget(upkeep, l);
    }
}

void listener_upkeep_forget(struct listener_upkeep *upkeep, struct listener *listener)
{
    if (upkeep->loop && listener && listener->watch)
        inotify_rm_watch(upkeep->watch.fd, listener->watch);
    if (listener)
        listener->watch = 0;
}

/* After an overflow, which dropped events, all listeners are suspect. */
static void suspect(struct listener *listeners, const struct inotify_event *event)
{
    for (struct listener *l = listeners; l; l = l->next) {
        bool same = l->watch && l->watch == event->wd;
        l->suspect = l->suspect || same || event->mask & IN_Q_OVERFLOW;
        if (same && event->mask & IN_IGNORED)
            l->watch = 0;
    }
}

static void read_events(struct listener_upkeep *upkeep, struct listener *listeners,
                        struct listener *control)
{
    _Alignas(struct inotify_event) char bytes[4096];
    ssize_t size = 1;
    for (int reads = 0; size > 0 && reads < READS_A_LOOK; reads++) {
        size = read(upkeep->watch.fd, bytes, sizeof bytes);
        for (ssize_t at = 0; at < size;) {
            const struct inotify_event *event = (const void *)(bytes + at);
            suspect(listeners, event);
            suspect(control, event);
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
}

/* Whether a listener was lost, or can be reached again. */
static bool look_at_suspects(struct listener *listeners, bool are_control)
{
    char value[LOG_QUOTED(ADDR_TEXT)];
    const char *kind = are_control ? "control" : "listener";
    bool changed = false;
    for (struct listener *l = listeners; l; l = l->next) {
        unsigned missed;
        if (!l->suspect)
            continue;
        bool was_reachable = listener_is_reachable(l);
        enum listener_loss loss = listener_look(l);
        bool lost = was_reachable && loss != LISTENER_SOUND;
        bool found = !was_reachable && loss == LISTENER_SOUND;
        l->suspect = false;
        changed = changed || lost || found;
        if (lost && log_rate_ok(&l->loss_logged, LOSSES_APART, &missed))
            log_warning("%s %s: %s; nobody can connect to it until a reload (%s) binds it anew "
                        "listener=%s missed=%u",
                        kind, l->text, listener_loss_words[loss],
                        are_control ? "SIGHUP" : "preforkctl reload",
                        log_quoted(value, sizeof value, l->text), missed);
        else if (found)
            log_notice("%s %s: it can be reached again listener=%s", kind, l->text,
                       log_quoted(value, sizeof value, l->text));
    }
    return changed;
}

bool listener_upkeep_step(struct listener_upkeep *upkeep, struct listener *listeners,
                          struct listener *control, usec now, usec *next)
{
    enum { OF_POOLS = false, OF_CONTROL = true };
    if (!upkeep->loop)
        return false;
    if (now >= upkeep->again)
        upkeep->again =
            loop_add(upkeep->loop, &upkeep->watch) == 0 ? USEC_NEVER : now + LOOKS_APART;
    bool changed = false;
    if (upkeep->has_input) {
        upkeep->has_input = false;
        read_events(upkeep, listeners, control);
        changed = look_at_suspects(listeners, OF_POOLS);
        look_at_suspects(control, OF_CONTROL);
        loop_remove(upkeep->loop, &upkeep->watch);
        upkeep->again = now + LOOKS_APART;
    }
    *next = clock_earlier(*next, upkeep->again);
    return changed;
}

/* --- listeners that were shut down ------------------------------------------------------------ */

int listener_upkeep_heal(struct listener *const *listeners, int count, const char *pool,
                         int backlog, pid_t pid)
{
    int lost = 0;
    for (int i = 0; i < count; i++) {
        struct listener *listener = listeners[i];
        char value[LOG_QUOTED(ADDR_TEXT)];
        unsigned missed;
        if (!listener_is_shut(listener))
            continue;
        bool listens = listener_heal(listener, backlog) == 0;
        bool ours = listener->origin != LISTENER_ACTIVATED;
        listener->unreachable = !listens;
        lost += !listens && ours;
        const char *outcome = "it is bound anew, with new workers";
        if (listens && listener->lent)
            outcome = "it listens again; programs that stopped accepting must be restarted";
        else if (listens)
            outcome = "it listens again";
        else if (!ours)
            outcome = "it is systemd's, and lost until its .socket unit and preforkd are restarted";
        if (log_rate_ok(&listener->loss_logged, LOSSES_APART, &missed))
            log_warning(
                "pool %s: listener %s was shut down, by shutdown(2) in worker %d or another "
                "one that has it; %s pool=%s listener=%s pid=%d missed=%u",
                pool, listener->text, (int)pid, outcome, pool,
                log_quoted(value, sizeof value, listener->text), (int)pid, missed);
    }
    return lost;
}

/* systemd's store. */

enum { BATCH = 16 }; /* listeners sent at once */

static bool is_wanted(const struct listener *listener, const struct config *config)
{
    for (int i = 0; i < config->pool_count; i++)
        for (int k = 0; k < config->pools[i]->listen_count; k++)
            if (listener_is(listener, &config->pools[i]->listens[k]))
                return true;
    return false;
}

static struct listener *take_back(const struct sysd_socket *stored,
                                  const struct listener_facts *facts, const struct config *config)
{
    char why[100], value[LOG_QUOTED(ADDR_TEXT)];
    struct listener *listener = listener_revive(stored->fd, facts, why, sizeof why);
    const char *reason = NULL;
    if (!listener)
        reason = why;
    else if (listener_look(listener) != LISTENER_SOUND)
        reason = "its path is gone";
    else if (!is_wanted(listener, config))
        reason = "no pool listens there any more";
    if (reason) {
        /* It is closed, because it would keep its address from being bound anew. */
        log_notice("the stored listener %s is closed: %s", stored->name, reason);
        sysd_unstore(stored->name);
        if (!listener)
            fd_close_foreign(stored->fd);
        else if (listener_is_reachable(listener))
            listener->origin = LISTENER_BOUND; /* so that its path is removed too */
        listener_close(listener);
        return NULL;
    }
    listener->stored = true;
    log_notice("taken back from systemd: listener %s listener=%s", listener->text,
               log_quoted(value, sizeof value, listener->text));
    return listener;
}

struct listener *listener_upkeep_take(const struct config *config)
{
    struct listener *list = NULL;
    bool discarded = false;
    struct listener_facts facts;
    for (int i = sysd_socket_count() - 1; i >= 0; i--) {
        const struct sysd_socket *stored = sysd_socket(i);
        if (!listener_name_read(stored->name, &facts))
            continue;
        struct listener *listener = take_back(stored, &facts, config);
        sysd_forget_socket(i);
        discarded = discarded || !listener;
        if (!listener)
            continue;
        listener->next = list;
        list = listener;
    }
    if (discarded)
        sysd_await(); /* until then systemd holds their addresses */
    return list;
}

void listener_upkeep_store(struct listener *listeners)
{
    static char names[BATCH][LISTENER_NAME];
    struct sysd_socket batch[BATCH];
    int count = 0;
    for (struct listener *l = listeners; l; l = l->next) {
        if (l->origin == LISTENER_STORED)
            l->origin = LISTENER_BOUND;
        if (l->origin != LISTENER_BOUND || l->stored)
            continue;
        if (count == BATCH) {
            sysd_store(batch, count);
            count = 0;
        }
        listener_name(l, names[count]);
        batch[count] = (struct sysd_socket){.fd = l->fd, .name = names[count]};
        count++;
        l->stored = true;
    }
    sysd_store(batch, count);
}

void listener_upkeep_unstore(struct listener *listener)
{
    char name[LISTENER_NAME];
    if (!listener->stored)
        return;
    listener_name(listener, name);
    sysd_unstore(name);
    listener->stored = false;
}
