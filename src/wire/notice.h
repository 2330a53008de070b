/*
 * notice - reads what a program reports by sd_notify(3), as far as preforkd acts on it.
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
    long long watchdog; /* WATCHDOG_USEC=, the time within which WATCHDOG=1 must come; 0: not set */
    const char *status; /* STATUS=, in the datagram; NULL: not set */
    size_t status_length;
};

/* Reads a datagram: lines of NAME=VALUE. Unknown names are skipped. If a name is repeated, the last
 * status and watchdog count. */
void notice_read(const char *text, size_t length, struct notice *notice);

#endif
