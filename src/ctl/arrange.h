/*
 * arrange - which pools of a status are shown, and in which order.
 *
 * Owns:      what an idle pool is, and which trouble comes first.
 * Knows not: how a pool is shown.
 * Called by: status_view. Not there if the build has no jansson.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_ARRANGE_H
#define PREFORKD_CTL_ARRANGE_H

#include <stdbool.h>

struct json_t; /* jansson.h, which a build without it has not */

enum fold { FOLD_MANY, FOLD_NONE, FOLD_ALL, FOLDS }; /* MANY: if there are more than fit */
enum order { ORDER_TROUBLE, ORDER_NAME, ORDER_BUSY, ORDER_QUEUE, ORDER_P99, ORDER_DEATHS, ORDERS };

/* All of it 0: a status as it is printed once, pools in the order of the file. */
struct wish {
    bool coloured;
    bool live;           /* in top: the trouble stands above the tables */
    int columns;         /* sentences are wrapped there; 0: nowhere */
    enum order order;    /* of the pools, if it is live */
    bool reversed;       /* that order */
    enum fold fold;      /* idle pools are counted, not shown, if it is live */
    int rows;            /* of the terminal */
    const char *pattern; /* only pools with this text in name, handler or state; "" or NULL: all */
};

struct arranged {
    struct json_t *pools;      /* an array that the caller gives back; NULL: no memory */
    long long idle, unmatched; /* pools that are not in it: folded, or without `pattern` */
};

struct arranged arrange(const struct json_t *pools, const struct wish *wish);

/* Connections that wait at all listeners of a pool. */
long long arrange_queue(const struct json_t *pool);

#endif
