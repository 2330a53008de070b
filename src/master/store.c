#include "store.h"

#include "../base/log.h"
#include "../base/sysd.h"

#include <unistd.h>

enum { BATCH = 16 }; /* listeners sent at once */

static bool is_wanted(const struct listener *listener, const struct config *config)
{
    for (int i = 0; i < config->pool_count; i++)
        for (int k = 0; k < config->pools[i]->listen_count; k++)
            if (listener_is(listener, &config->pools[i]->listens[k]))
                return true;
    return false;
}

static struct listener *take_one(const struct sysd_socket *stored,
                                 const struct listener_facts *facts, const struct config *config)
{
    char why[100];
    struct listener *listener = listener_revive(stored->fd, facts, why, sizeof why);
    const char *reason = NULL;
    if (!listener)
        reason = why;
    else if (listener_look(listener) != LISTENER_SOUND)
        reason = "its path is gone";
    else if (!is_wanted(listener, config))
        reason = "no pool listens there any more";
    if (reason) {
        /* One that we could not use would keep its address from being bound. */
        log_notice("the stored listener %s is closed: %s", stored->name, reason);
        sysd_unstore(stored->name);
        if (!listener)
            close(stored->fd);
        else if (listener_is_reachable(listener))
            listener->origin = LISTENER_BOUND; /* so that its path goes too */
        listener_close(listener);
        return NULL;
    }
    listener->stored = true;
    log_notice("taken back from systemd: listener %s listener=%s", listener->text, listener->text);
    return listener;
}

struct listener *store_take(const struct config *config)
{
    struct listener *list = NULL;
    bool discarded = false;
    struct listener_facts facts;
    for (int i = sysd_socket_count() - 1; i >= 0; i--) {
        const struct sysd_socket *stored = sysd_socket(i);
        if (!listener_name_read(stored->name, &facts))
            continue;
        struct listener *listener = take_one(stored, &facts, config);
        sysd_forget_socket(i);
        discarded = discarded || !listener;
        if (!listener)
            continue;
        listener->next = list;
        list = listener;
    }
    if (discarded)
        sysd_await(); /* it holds their addresses until then */
    return list;
}

void store_keep(struct listener *listeners)
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

void store_release(struct listener *listener)
{
    char name[LISTENER_NAME];
    if (!listener->stored)
        return;
    listener_name(listener, name);
    sysd_unstore(name);
    listener->stored = false;
}
