/*
 * arrange - what the user of a terminal wants to see of the status: which pools, in which order.
 *
 * Owns:      what an idle pool is, and which trouble comes first.
 * Knows not: how a pool is shown.
 * Called by: status_view. top changes the options by keys, report passes them on. arrange.c is
 *            built only with jansson.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_ARRANGE_H
#define PREFORKD_CTL_ARRANGE_H

#include <stdbool.h>

struct json_t; /* jansson's json_t; a build without jansson lacks its header */

enum fold { FOLD_MANY, FOLD_NONE, FOLD_ALL, FOLDS }; /* MANY: only if not all pools fit */
enum order { ORDER_TROUBLE, ORDER_NAME, ORDER_BUSY, ORDER_QUEUE, ORDER_P99, ORDER_DEATHS, ORDERS };

/* All zero: a status that is printed once, with the pools in the order of the file. */
struct view_options {
    bool coloured;
    bool live;           /* in top: troubles stand above the tables */
    int columns;         /* width to wrap sentences at; 0: don't wrap */
    enum order order;    /* of the pools, if live */
    bool reversed;       /* reverses the order */
    enum fold fold;      /* whether to count idle pools instead of showing them, if live */
    int rows;            /* of the terminal */
    const char *pattern; /* must be in a pool's name, handler or state; "" or NULL: any pool */
};

struct arranged {
    struct json_t *pools;      /* an array that the caller releases; NULL: no memory */
    long long idle, unmatched; /* left out: folded, or not matched by the pattern */
};

struct arranged arrange(const struct json_t *pools, const struct view_options *options);

#endif
