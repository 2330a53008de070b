/*
 * notice - what a program says of itself to whoever watches it (sd_notify(3)): a datagram, read
 * into what we heed of it.
 *
 * Called by: master/notify.
 * Runs in:   the master.
 */
#ifndef PREFORKD_WIRE_NOTICE_H
#define PREFORKD_WIRE_NOTICE_H

#include <stdbool.h>
#include <stddef.h>

struct notice {
    bool ready;
    bool alive;         /* WATCHDOG=1 */
    bool hung;          /* WATCHDOG=trigger */
    long long watchdog; /* WATCHDOG_USEC=, the microseconds between two; 0: not said */
    const char *status; /* in the datagram; NULL: not said */
    size_t status_length;
};

/* Lines of NAME=VALUE, of which unknown names are passed over; of two of a name the last
 * counts. */
void notice_read(const char *text, size_t length, struct notice *notice);

#endif
