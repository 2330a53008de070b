/*
 * wish - what the user of a terminal wants to see of the status, and how.
 *
 * Called by: top, which changes it by keys; report, status_view and arrange, which obey it.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_WISH_H
#define PREFORKD_CTL_WISH_H

#include <stdbool.h>

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

#endif
